"""Folders of models with random weights, as a fine-tuning leaves them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.hashing import file_sha256
from medtransfer.records import MODEL_FILE, WEIGHTS_FILE, Cell, ImageRule, ModelInfo, write_tensors
from medtransfer.tasks import TASKS

CELL = {
    "target": "lesions", "encoder": "net", "origin": "simple", "epoch": 3, "mode": "full", "seed": 7, "source": "photographs",
    "protocol": "p1", "pretraining": "p2", "weights": "w", "data": "d",
}  # fmt: skip
RULE = asdict(ImageRule("percentiles", 0.5, 99.5, over="image"))
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def write_model(folder: Path, build: str, arguments: dict[str, Any], size: int = 64, logits: float = 1, **changes: Any) -> Path:
    """Write a model of random weights, with logits of a U-Net that many times larger; `changes` are fields of its record."""
    classes, decoder = changes.get("classes", ["lesion"]), changes.get("decoder")
    network = TASKS["segmentation"].model(build_encoder(build, **arguments), len(classes), decoder)
    initialise(network, 5)
    generator = torch.Generator().manual_seed(5)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):  # as after a training: an export that recomputed them would differ
            buffer.copy_(torch.rand(buffer.shape, generator=generator) * 0.1 + name.endswith("var"))
    if logits != 1:
        network.decoder.head.weight.data *= logits
    folder.mkdir(parents=True)
    write_tensors(folder / WEIGHTS_FILE, network.state_dict())
    values: dict[str, Any] = {
        "cell": CELL, "key": Cell(**CELL).key, "task": "segmentation", "classes": classes,
        "thresholds": [0.5] if len(classes) == 1 else [], "build": build, "arguments": arguments, "decoder": decoder,
        "input": [size, size], "size": [size, size], "channels": 3, "mean": MEAN, "std": STD, "image_rule": RULE,
        "parts": ["encoder", "decoder"], "weights": file_sha256(folder / WEIGHTS_FILE), "kind": "supervised",
        "lineage": ["first"], "licence": "CC0", "git_revision": "none", **changes,
    }  # fmt: skip
    ModelInfo(**values).write(folder / MODEL_FILE)
    return folder
