"""Robustness by epoch goes in; a PNG with both poolings, their standard errors and the source accuracy comes out."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from medtransfer.records import Scores, atomic_path


def draw_curves(
    path: Path, curves: dict[str, dict[int, float]], scores: dict[int, Scores], default: dict[str, Any], title: str
) -> None:  # fmt: skip
    """Draw the default setting's robustness, flattened and pooled, over the pretraining epochs.

    Args:
        path: of the PNG.
        curves: metric name -> epoch -> robustness.
        scores: by epoch, for the standard errors and the source accuracy.
        default: distance, margin and level.
        title: of the picture.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    epochs = sorted(scores)
    places = range(len(epochs))
    for name, colour, marker in (("robustness", "#0072B2", "o"), ("robustness_pooled", "#D55E00", "s")):
        errors = [_error(scores[epoch], default, name.endswith("pooled")) for epoch in epochs]
        label = "pooled (decoder-only training)" if name.endswith("pooled") else "flattened (full training)"
        values = [curves[name][epoch] for epoch in epochs]
        axes.errorbar(places, values, errors, color=colour, marker=marker, capsize=3, label=label)
    axes.set_xticks(places, [str(epoch) for epoch in epochs])
    axes.set_xlabel("pretraining epochs")
    axes.set_ylabel(f"robustness ({default['distance']}, margin {default['margin']:g}, level {default['level']})")
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def _error(scores: Scores, default: dict[str, Any], pooled: bool) -> float:
    wanted = {**default, "pooled": pooled}
    return next(line["standard_error"] for line in scores.table if all(line[key] == value for key, value in wanted.items()))
