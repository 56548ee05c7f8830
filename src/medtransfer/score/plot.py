"""Plot of the scores over the pretraining epochs, one panel per indicator."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.records import Score, Scores, atomic_path

STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"))


def draw_curves(path: Path, metrics: Mapping[str, Mapping[int, Score]], scores: Mapping[int, Scores], title: str) -> None:
    """Draw every metric over the pretraining epochs, with its standard error if known.

    Args:
        path: path of the PNG.
        metrics: rows by metric name and epoch; those of one indicator share a panel.
        scores: scores by epoch.
        title: title of the picture.
    """
    panels: dict[str, list[str]] = {}
    for metric, rows in metrics.items():
        panels.setdefault(rows[min(rows)].indicator, []).append(metric)
    figure = Figure(figsize=(6.4, 1.0 + 2.8 * max(1, len(panels))), layout="constrained")
    for axes, (indicator, names) in zip(figure.subplots(max(1, len(panels)), squeeze=False)[:, 0], panels.items(), strict=False):
        _draw_panel(axes, indicator, {name: metrics[name] for name in names}, sorted(scores))
    figure.axes[0].set_title(title, loc="left")
    figure.axes[-1].set_xlabel("pretraining epochs")
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def _draw_panel(axes: Axes, indicator: str, metrics: Mapping[str, Mapping[int, Score]], epochs: list[int]) -> None:
    positions = range(len(epochs))
    for (name, rows), (colour, marker) in zip(metrics.items(), cycle(STYLES), strict=False):
        values, errors = [rows[epoch].number for epoch in epochs], [rows[epoch].error or 0.0 for epoch in epochs]
        axes.errorbar(positions, values, errors, color=colour, marker=marker, capsize=3, label=name)
    setting = next(iter(metrics.values()))[epochs[0]].setting
    shown = ", ".join(f"{name} {value}" for name, value in setting.items() if name != "pooled")
    axes.set_xticks(positions, [str(epoch) for epoch in epochs])
    axes.set_ylabel(f"{indicator}\n({shown})", fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
