"""Measured pairs go in; one .npz of distances and one JSON of robustness values a checkpoint come out, and back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.robustness.measure import Pairs, Setting
from medtransfer.indicators.robustness.triplet import robustness_arrays
from medtransfer.records import CheckpointInfo, Scores, atomic_path, open_arrays, parse_json


def write_pairs(path: Path, pairs: Pairs) -> None:
    """Write the distances as arrays `pos|neg/<distance>/<level>/<pooled|flat>`, float32 (repeats, images), and the ids."""
    arrays: dict[str, NDArray[Any]] = {
        f"{side}/{distance}/{level}/{'pooled' if pooled else 'flat'}": values
        for side, table in (("pos", pairs.d_pos), ("neg", pairs.d_neg))
        for (distance, level, pooled), values in table.items()
    }
    with atomic_path(path) as partial, partial.open("wb") as handle:
        arrays["images"] = np.frombuffer(json.dumps(pairs.images).encode(), np.uint8)
        np.savez_compressed(handle, allow_pickle=False, **arrays)


def read_pairs(path: Path) -> Pairs:
    """Read what `write_pairs` wrote; no pickle is loaded. What is damaged or incomplete raises one of BROKEN_ARRAYS."""
    d_pos: dict[Setting, NDArray[np.float32]] = {}
    d_neg: dict[Setting, NDArray[np.float32]] = {}
    with open_arrays(path) as file:
        for name in file.files:
            if name != "images":
                side, distance, level, form = name.split("/")
                (d_pos if side == "pos" else d_neg)[distance, int(level), form == "pooled"] = file[name]
        images = parse_json(file["images"].tobytes())
    _check(d_pos, d_neg, images)
    return Pairs(d_pos, d_neg, images)


def _check(d_pos: dict[Setting, NDArray[np.float32]], d_neg: dict[Setting, NDArray[np.float32]], images: Any) -> None:
    if not isinstance(images, list) or not all(isinstance(name, str) for name in images) or not images:
        raise ValueError("its images are no list of names")
    if not d_pos or d_pos.keys() != d_neg.keys():
        raise ValueError("it does not hold both distances of every setting")
    for key in d_pos:
        for values in (d_pos[key], d_neg[key]):
            if values.dtype != np.float32 or values.ndim != 2 or values.shape != (len(d_pos[key]), len(images)):
                raise ValueError(f"the distances {key} are {values.dtype} {values.shape}, of {len(images)} images")
            if not np.isfinite(values).all():
                raise ValueError(f"the distances {key} are not all finite")


def tabulate(pairs: Pairs, margins: list[float]) -> list[dict[str, Any]]:
    """Compute the robustness of every setting and margin, a line each.

    Args:
        pairs: measured distances.
        margins: to list.
    """
    lines = []
    for (distance, level, pooled), d_pos in pairs.d_pos.items():
        values, errors = robustness_arrays(d_pos, pairs.d_neg[distance, level, pooled], margins)
        lines += [
            {"distance": distance, "level": level, "pooled": pooled, "margin": margin, "robustness": value, "standard_error": error}
            for margin, value, error in zip(margins, values, errors, strict=True)
        ]
    return lines


def summarise(pairs: Pairs, info: CheckpointInfo, target: str, data: str, settings: dict[str, Any], margins: list[float]) -> Scores:
    """Give a checkpoint's record of scores.

    Args:
        pairs: measured distances.
        info: the checkpoint's record.
        target: name of the target.
        data: fingerprint of the target.
        settings: what the distances depend on.
        margins: to list.
    """
    counts = [{"level": level, "pooled": pooled, **found} for (level, pooled), found in pairs.counts.items()]
    return Scores(
        target=target, data=data, encoder=info.encoder, origin=info.origin, source=info.source, epoch=info.epoch,
        pretraining=info.pretraining, weights=info.weights, source_accuracy=info.source_accuracy, images=len(pairs.images),
        settings=settings, table=tabulate(pairs, margins), counts=counts, notes=pairs.notes,
    )  # fmt: skip
