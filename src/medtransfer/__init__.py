"""medtransfer: which pretrained encoder, pretrained for how long, should a medical segmentation start from."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"
PUBLIC = {  # the module of each public name, which is imported at first use: `--help` stays instant
    "StoppingRule": "medtransfer.selectors.stopping_rule",
    "load_model": "medtransfer.predict.model",
    "predict": "medtransfer.predict.public",
    "race": "medtransfer.race.public",
    "rank": "medtransfer.rank.public",
    "robustness": "medtransfer.indicators.robustness.of_views",
}
__all__ = list(PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})


class _Package(ModuleType):
    """The package: `medtransfer.rank` is the function, also after an import of the subpackage of this name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
