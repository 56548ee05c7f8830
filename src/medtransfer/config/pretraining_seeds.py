"""Pretraining seeds of a study: an origin that trains becomes one origin per seed."""

from collections.abc import Mapping, Sequence
from typing import Any


def seeded_names(origin: str, settings: Any, seeds: Sequence[Any]) -> list[str]:
    """Return the names under which a study uses an origin.

    Args:
        origin: name of the origin.
        settings: its entry of `pretrain.origins`. Only kinds that train have the key `seed`.
        seeds: `study.pretraining_seeds`.

    Returns:
        `<origin>-s<seed>` for each seed; the origin's own name without seeds, or if it does not train or has its own seed.
    """
    takes_seeds = dict(settings).get("seed", 0) is None
    return list(dict.fromkeys(f"{origin}-s{seed}" for seed in seeds)) if takes_seeds and seeds else [origin]


def seeded_origins(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the origins that the pretraining seeds add to `pretrain.origins`, by name.

    Args:
        values: merged params, not validated; where they have another form, nothing is added.
    """
    study, pretrain = values.get("study"), values.get("pretrain")
    seeds = study.get("pretraining_seeds") if isinstance(study, dict) else None
    origins = pretrain.get("origins") if isinstance(pretrain, dict) else None
    if not (isinstance(seeds, list) and isinstance(origins, dict)):
        return {}
    added: dict[str, dict[str, Any]] = {}
    for origin, settings in origins.items():
        if isinstance(settings, dict) and seeded_names(origin, settings, seeds) != [origin]:
            added |= {seeded_names(origin, settings, [seed])[0]: {**settings, "seed": seed} for seed in seeds}
    return added
