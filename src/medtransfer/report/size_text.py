"""Rows and sentences on the outcome by number of training images."""

from collections.abc import Sequence
from typing import Any

from medtransfer.analysis.by_size import SizeCurves
from medtransfer.report.format import between, signed

HEADING = "Outcome by number of training images"
FOLDS = (
    "Folds are repetitions over training images that share one set of test images: their spread says nothing about seeds, nor "
    "about other test patients."
)


def csv_rows(curves: Sequence[SizeCurves]) -> list[dict[str, Any]]:
    """Return one row per target, mode, initialisation and size."""
    rows = []
    for curve in curves:
        for point in curve.points:
            low, high = point.interval or (None, None)
            gain_low, gain_high = point.gain_interval or (None, None)
            rows.append({
                "target": curve.target, "mode": curve.mode, "recipe": curve.label.strip(), "encoder": point.encoder,
                "origin": point.origin, "pretraining": point.pretraining, "epoch": point.epoch, "size": point.size or "all",
                "metric": curve.metric.name, "mean": point.mean, "std": point.std, "low": low, "high": high, "gain": point.gain,
                "gain_low": gain_low, "gain_high": gain_high, "folds": point.folds, "seeds": point.seeds,
            })  # fmt: skip
    return rows


def table_rows(curve: SizeCurves) -> list[dict[str, Any]]:
    """Return one row per initialisation and size, for people."""
    return [
        {
            "start": point.initialisation, "images": point.size or "all", curve.metric.label: point.mean,
            "interval": between(point.interval), "above random": "–" if point.gain is None else signed(point.gain),
            "its interval": "–" if point.gain_interval is None else " to ".join(map(signed, point.gain_interval)),
            "repetitions": f"{point.folds} folds × {point.seeds}" if point.folds else f"{point.seeds}",
        }
        for point in curve.points
    ]  # fmt: skip


def explain(curves: Sequence[SizeCurves], confidence: float) -> str:
    """Say what the values are means over, and what their intervals do not cover."""
    over = "folds" if all(curve.folds for curve in curves) else "seeds, or folds where there are some"
    text = (
        f"Means and {100 * confidence:g} % intervals (Student’s t) over {over}. With one seed and fold every start is trained on "
        "the same images, and a smaller subset is part of a larger one; above random is the mean difference to random weights "
        "on the same images. The larger a subset, the more of it the repetitions share, so intervals get too narrow."
    )
    return f"{text} {FOLDS}" if any(curve.folds for curve in curves) else text
