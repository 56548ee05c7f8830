"""Measured pairs go in; one .npz of distances and one JSON of robustness values a checkpoint come out, and back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.metrics.robustness import robustness_curve
from medtransfer.records import CheckpointInfo, Scores, atomic_path
from medtransfer.training.robustness import Pairs, Setting


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
    """Read what `write_pairs` wrote; no pickle is loaded."""
    d_pos: dict[Setting, NDArray[np.float32]] = {}
    d_neg: dict[Setting, NDArray[np.float32]] = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            if name != "images":
                side, distance, level, form = name.split("/")
                (d_pos if side == "pos" else d_neg)[distance, int(level), form == "pooled"] = file[name]
        return Pairs(d_pos, d_neg, json.loads(file["images"].tobytes()))


def tabulate(pairs: Pairs, margins: list[float]) -> list[dict[str, Any]]:
    """Compute the robustness of every setting and margin, a line each.

    Args:
        pairs: measured distances.
        margins: to list.
    """
    return [
        {
            "distance": distance, "level": level, "pooled": pooled, "margin": margin,
            "robustness": value.value, "standard_error": value.standard_error,
        }
        for (distance, level, pooled), d_pos in pairs.d_pos.items()
        for margin, value in zip(margins, robustness_curve(d_pos, pairs.d_neg[distance, level, pooled], margins), strict=True)
    ]  # fmt: skip


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
        target=target, data=data, encoder=info.encoder, scheme=info.scheme, source=info.source, epoch=info.epoch,
        pretraining=info.pretraining, weights=info.weights, source_accuracy=info.source_accuracy, images=len(pairs.images),
        settings=settings, table=tabulate(pairs, margins), counts=counts, notes=pairs.notes,
    )  # fmt: skip
