"""Parameters whose values are names that the code registers, and where; registries are imported when they are needed."""

from pkgutil import resolve_name

from medtransfer.config.schema import Params
from medtransfer.errors import InputError

REGISTRIES = {  # by dotted key
    "pretrain.stop_by": "medtransfer.indicators.registry:INDICATORS",
    "score.distance": "medtransfer.indicators.robustness.distances:DISTANCES",
    "score.indicators": "medtransfer.indicators.registry:INDICATORS",
    "finetune.mode": "medtransfer.modes:MODES",
    "finetune.decoder": "medtransfer.decoders:DECODERS",
    "search.distances": "medtransfer.indicators.robustness.distances:DISTANCES",
}


def check_names(params: Params, *sections: str) -> None:
    """Check the names of registries in some sections.

    Raises:
        InputError: a value names no entry.
    """
    for key, registry in REGISTRIES.items():
        section, name = key.split(".")
        value = getattr(getattr(params, section), name) if section in sections else None
        for entry in value if isinstance(value, list) else [value]:
            if entry is not None and entry not in (known := resolve_name(registry)):
                raise InputError(f"expected {key} out of {', '.join(known)}, but got {entry!r}; name one of them")
