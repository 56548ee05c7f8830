"""Checkpoints of a pretraining that was never trained: random weights of another seed for each epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from medtransfer.config import Params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.records import Provenance
from medtransfer.training.checkpoints import save_checkpoint


def write_series(folder: Path, params: Params, epochs: Sequence[int], encoder: str = "unet", **changed: Any) -> None:
    """Write a checkpoint for each epoch, whose weights are those of the seed 5 + epoch."""
    spec = params.pretrain.encoders[encoder]
    contract = {"size": 32, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "channels": "RGB"}
    for epoch in epochs:
        model = build_encoder(spec.build, **spec.arguments)
        initialise(model, 5 + epoch)
        fields = {
            "encoder": encoder, "origin": folder.name.removeprefix(f"{encoder}-"), "kind": "supervised", "seed": 5,
            "source": params.pretrain.source, "source_classes": [], "input": contract, "pretraining": "theirs", "epoch": epoch,
        }  # fmt: skip
        save_checkpoint(folder, nn.ModuleDict({"encoder": model}), Provenance(**fields | changed))
