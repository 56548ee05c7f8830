"""Compute every indicator whose arrays are at hand."""

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.errors import InputError
from medtransfer.indicators.alpha import alpha
from medtransfer.indicators.array_files import Arrays, computable
from medtransfer.indicators.array_keys import FUNCTIONS, KEYS, ArrayIndicator
from medtransfer.indicators.ccfv import ccfv
from medtransfer.indicators.dse import Clustering, dse
from medtransfer.indicators.knn import knn_left_out
from medtransfer.indicators.probes import accuracy, mean_dice
from medtransfer.indicators.ridge import ridge_left_out
from medtransfer.records import IGNORE

log = logging.getLogger("medtransfer")
Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]
Flags = dict[str, int]


def compute(arrays: Arrays) -> dict[str, Any]:
    """Compute every indicator whose arrays are given.

    Args:
        arrays: the checked arrays.

    Returns:
        The values by key, None where one is not defined, and last `flags`: counts of noteworthy events by key and name.
        `undefined`: there is no value; `nonfinite`: samples or pixels with a NaN or an infinity, replaced by zeros;
        `too_many`: samples or pixels, of which there are too many for the memory.

    Raises:
        InputError: no indicator can be computed, or one refuses its arrays.
    """
    values: dict[str, float | None] = {}
    flags: dict[str, Flags] = {}
    for key in computable(arrays):
        values[key], flags[key] = _measure(key, KEYS[key], arrays)
    return {**values, "flags": {key: counts for key, counts in flags.items() if counts}}


def _measure(key: str, indicator: ArrayIndicator, arrays: Arrays) -> tuple[float | None, Flags]:
    used = [arrays.values[name] for name in indicator.arguments]
    flags = {"nonfinite": sum(arrays.nonfinite.get(name, 0) for name in indicator.arguments)}
    count = used[0].size // used[0].shape[1] if used[0].ndim == 4 else len(used[0])
    if indicator.most is not None and count > indicator.most:
        return None, {"too_many": count, "undefined": 1}
    try:
        value, own = FUNCTIONS[key](*used, **indicator.options)
    except ValueError as error:
        files = ", ".join(str(arrays.paths[name]) for name in indicator.needs if name in arrays.paths)
        if "probs" in indicator.needs:  # no probabilities
            raise InputError(f"{key}: {error} ({files})") from None
        # The arrays are valid, so there are too few samples, groups or classes for this indicator.
        log.warning("%s is not defined: %s (%s)", key, error, files)
        return None, {"undefined": 1}
    defined = math.isfinite(value)
    flags |= own | {"undefined": int(not defined)}
    return float(value) if defined else None, {name: int(number) for name, number in flags.items() if number}


def as_json(values: Mapping[str, Any]) -> str:
    """Return one JSON object."""
    return json.dumps(values, indent=2, allow_nan=False)


def as_table(values: Mapping[str, Any]) -> str:
    """Return one line per indicator: its key, value, meaning and flags."""
    lines = []
    for key, indicator in KEYS.items():
        if key not in values:
            continue
        value = "undefined" if values[key] is None else f"{values[key]:.6g}"
        flags = ", ".join(f"{name} {count}" for name, count in values["flags"].get(key, {}).items() if name != "undefined")
        lines.append(f"{key:<{max(map(len, KEYS))}}  {value:>12}  {indicator.says}{f' [{flags}]' if flags else ''}")
    return "\n".join(lines)


def alpha_of_all(features: Numbers) -> tuple[float, Flags]:
    """Compute alpha of all eigenvalues that centred features can have."""
    return alpha(features, 1, min(features.shape[1], len(features) - 1))


def dse_of_classes(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute DSE with the classes for clusters, and the dimension of all samples."""
    rows = np.arange(len(labels))
    classes = Clustering(rows, labels)
    return dse(features, [classes], [classes], [rows])


def ridge_accuracy(features: Numbers, labels: Labels, groups: Labels) -> tuple[float, Flags]:
    """Compute the accuracy of the ridge probe."""
    scores, flags = ridge_left_out(features, labels, groups)
    return accuracy(scores, labels), flags


def knn_accuracy(features: Numbers, labels: Labels, groups: Labels) -> tuple[float, Flags]:
    """Compute the accuracy of the nearest-neighbour probe."""
    scores, flags = knn_left_out(features, labels, groups)
    return accuracy(scores, labels), flags


def ridge_dice(maps: Numbers, masks: Labels, groups: Labels) -> tuple[float, Flags]:
    """Compute the Dice of the ridge probe on all pixels."""
    features, labels, of = _pixels(maps, masks, groups)
    scores, flags = ridge_left_out(features, labels, of)
    return mean_dice(scores, labels), flags


def knn_dice(maps: Numbers, masks: Labels, groups: Labels) -> tuple[float, Flags]:
    """Compute the Dice of the nearest-neighbour probe on all pixels."""
    features, labels, of = _pixels(maps, masks, groups)
    scores, flags = knn_left_out(features, labels, of)
    return mean_dice(scores, labels), flags


def _pixels(maps: Numbers, masks: Labels, groups: Labels) -> tuple[Numbers, Labels, Labels]:
    """Return embeddings (N, D), labels and groups (N,) of the pixels that are not ignored."""
    kept = masks != IGNORE
    of = np.broadcast_to(groups[:, None, None], masks.shape)
    return np.moveaxis(maps, 1, -1)[kept], masks[kept], of[kept]


def ccfv_of_level(maps: Numbers, masks: Labels, raw: bool = False) -> tuple[float, Flags]:
    """Compute CC-FV of one level."""
    return ccfv([maps], [masks], raw)
