"""medtransfer: which pretrained encoder, pretrained for how long, should a medical segmentation start from."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
PUBLIC = {"StoppingRule": "medtransfer.selectors.stopping_rule"}  # imported at first use: `--help` stays instant


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)
