"""Tiny encoders for the tests of encoders and decoders."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.tiny_encoders import TINY
from torch import Tensor

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder


@pytest.fixture
def tiny() -> Callable[..., Encoder]:
    """Maker of tiny encoders: `tiny("unet", width=8)` changes single arguments; `stochastic_depth` only where it exists."""

    def make(build: str, /, seed: int = 0, **changed: Any) -> Encoder:
        torch.manual_seed(seed)
        known = TINY[build].keys() | changed.keys() - {"stochastic_depth"}
        return build_encoder(build, **{name: value for name, value in {**TINY[build], **changed}.items() if name in known})

    return make


@pytest.fixture
def images() -> Tensor:
    """Two random images of 64 pixels a side."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))
