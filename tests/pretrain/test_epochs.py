"""Epochs of origins, without the libraries that make them, are those of the kinds that make them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medtransfer.config import Params
from medtransfer.pretrain.epochs import epochs_of, trains
from medtransfer.pretrain.origins import ORIGINS

TRAINED = {"randaugment": False, "cutmix": 0.0, "mixup": 0.0, "erasing": 0.0, "warmup": 1, "batch_size": 8, "seed": None}
IMPORTED = {"source": "imagenet", "pickle": False, "allow_partial": False, "prefix": None, "input": None}
ENTRIES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "supervised": (TRAINED, (0, 1, 2, 3)),
    "continued": ({**TRAINED, "from": "simple", "source": None, "source_root": None}, (0, 1, 2, 3)),
    "file": ({**IMPORTED, "weights": {90: "a", 30: "b"}, "epoch": None}, (0, 30, 90)),
    "series": ({**IMPORTED, "weights": "theirs", "epoch": r"ep(\d+)", "first": 0}, (0, 3, 5)),
    "package": ({"folder": "weights", "epoch": 30}, (0, 30)),
    "catalogue": ({"id": "moco-v2", "folder": "weights", "epoch": None, "pickle": True}, (0, 800)),
    "soup": ({"of": "simple", "epochs": [2, 3], "images": 8}, (0, 3)),
    "fused": ({"sources": ["checkpoints/unet-simple/epoch-003"]}, (0, 1)),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_the_epochs_are_those_that_the_origin_makes(
    kind: str, workplace: Path, tiny_params: Callable[..., Params]
) -> None:  # fmt: skip
    entry, expected = ENTRIES[kind]
    Path("theirs").mkdir()
    for epoch in (2, 4):
        Path("theirs", f"ep{epoch}.safetensors").touch()
    section = tiny_params({"pretrain.origins.mine": {"kind": kind, **entry}, "pretrain.origin": "mine"}).pretrain
    assert epochs_of(section) == tuple(ORIGINS[kind].epochs(section)) == expected
    assert trains(section) == ORIGINS[kind].trains
