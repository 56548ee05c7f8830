"""Scores on disk go in; the run that they make, and one for each folder that the tracking store lacks, come out."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer import tracking
from medtransfer.config import Score
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.locks import is_locked
from medtransfer.records import Scores, checkpoint_path

log = logging.getLogger("medtransfer")
TABLE = "robustness.csv"
METRICS = {False: "robustness", True: "robustness_pooled"}  # pooled -> name; the pooled one serves decoder-only training


def publish(section: Score, prepared: Path) -> int:
    """Write the missing runs, at the section's default setting.

    So that the tables do not depend on whose machine scored.

    Args:
        section: validated params; its `out` holds the scores.
        prepared: folder of all prepared targets, which the runs name as their inputs.

    Returns:
        How many were written. What is half-written or of another version is left out, with one warning for all; what a process
        works on just now, without one.
    """
    default = {"distance": section.distance, "margin": section.margin, "level": section.level}
    records, left = [], []
    for folder in sorted({path.parent for path in Path(section.out).glob("*/*/epoch-*.*")}):
        if is_locked(folder):
            continue
        try:
            found = [Scores.read(path) for path in sorted(folder.glob("epoch-*.json"))]
            records.append(record_of({one.epoch: one for one in found}, default, folder, prepared / folder.parent.name))
        except (InputError, AttributeError, KeyError, TypeError, ValueError) as fault:  # a foreign file may hold anything
            left.append(f"{folder} ({type(fault).__name__}: {fault})")
    if left:
        log.warning("%d folders of scores on disk are left out: %s", len(left), "; ".join(left))
    return tracking.write_runs("score", records, "scores to the tracking store")


def record_of(scores: Mapping[int, Scores], default: Mapping[str, Any], folder: Path, target: Path) -> tracking.RunRecord:
    """Give the run of a pretraining's scores on a target.

    Args:
        scores: by epoch.
        default: distance, margin and level that become the metrics.
        folder: where the scores lie.
        target: folder of the prepared target.

    Raises:
        InputError: the scores are not of one pretraining, or lack the default setting or a file.
    """
    if not scores:
        raise InputError(f"expected scores in {folder}, but there are none; score again")
    first = scores[min(scores)]
    margins = sorted({line["margin"] for line in first.table})
    if any(_identity(one) != _identity(first) for one in scores.values()):
        raise InputError(
            f"expected the scores of one pretraining on one dataset in {folder}, at the same margins, but they differ; score again"
        )
    weights = [[epoch, scores[epoch].weights] for epoch in sorted(scores)]
    cell = digest([first.data, first.pretraining, weights, first.settings, default, margins], 16)
    params = {
        "target": first.target, "data": first.data, "encoder": first.encoder, "origin": first.origin, "source": first.source,
        "pretraining": first.pretraining, "images": first.images, **first.settings, **default,
    }  # fmt: skip
    files = [folder / TABLE, *(path for epoch in sorted(scores) for path in _pair(folder, epoch))]
    if lacking := [path for path in files if not path.exists()]:
        raise InputError(f"expected the file {lacking[0]} beside the scores, but it does not exist; score again")
    artifacts = {f"scores/{path.name}": path for path in files}
    if (picture := folder / "robustness.png").exists():
        artifacts[picture.name] = picture
    dataset = (first.target, first.data, target, "scoring")
    return tracking.RunRecord(
        f"{first.target}-{folder.name}", cell, params, {}, _curves(scores, default), artifacts=artifacts, datasets=[dataset]
    )


def _identity(scores: Scores) -> list[Any]:
    return [scores.pretraining, scores.data, scores.settings, {line["margin"] for line in scores.table}]


def _pair(folder: Path, epoch: int) -> tuple[Path, Path]:
    path = checkpoint_path(folder, epoch)
    return path, path.with_suffix(".npz")


def _curves(scores: Mapping[int, Scores], default: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    curves = {METRICS[pooled]: {e: pick(s, default, pooled) for e, s in scores.items()} for pooled in (False, True)}
    for pooled, name in METRICS.items():
        curves[f"{name}_se"] = {e: pick(s, default, pooled, "standard_error") for e, s in scores.items()}
    for kind in ("zero", "nonfinite"):
        curves[f"{kind}_vectors"] = {e: float(sum(line[kind] for line in s.counts)) for e, s in scores.items()}
    accuracy = {e: s.source_accuracy for e, s in scores.items() if s.source_accuracy is not None}
    return {**curves, **({"source_accuracy": accuracy} if accuracy else {})}


def pick(scores: Scores, default: Mapping[str, Any], pooled: bool, field: str = "robustness") -> float:
    """Give a field of the scores' table at a setting; a setting that was not scored is an InputError."""
    wanted = {**default, "pooled": pooled}
    found = [line[field] for line in scores.table if all(line[key] == value for key, value in wanted.items())]
    if not found:
        raise InputError(
            f"expected a score at {default} of epoch {scores.epoch} on {scores.target}, but there is none; score again"
        )
    return found[0]
