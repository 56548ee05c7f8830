"""Tiny encoders, one for every entry of the registry, for the tests of the models."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder

TINY: dict[str, dict[str, Any]] = {
    "unet": {"width": 4, "depth": 5},
    "resnet50": {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64], "stochastic_depth": 0.1},
    "swin": {
        "embed": 8,
        "depths": [2, 2, 2, 2],
        "heads": [1, 2, 2, 4],
        "window": 2,
        "stochastic_depth": 0.2,
        "size": 64,
    },
}


@pytest.fixture
def tiny() -> Callable[..., Encoder]:
    """Give a maker of tiny encoders: by name, with single arguments changed."""

    def make(name: str, seed: int = 0, **changed: Any) -> Encoder:
        torch.manual_seed(seed)
        return build_encoder(name, **{**TINY[name], **changed})

    return make


@pytest.fixture
def images() -> Tensor:
    """Give two random images of 64 pixels a side."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))
