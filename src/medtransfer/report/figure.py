"""Configurations go in; one PNG like the paper's Fig. 3 comes out: Dice by epoch, robustness as the size of the dots."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from medtransfer.records import atomic_path
from medtransfer.report.collect import Configuration
from medtransfer.report.verdicts import Verdict, seed_means

CHOSEN = {"offline": ("#D55E00", "-"), "online": ("#009E73", "--")}


def draw(path: Path, configurations: Sequence[Configuration], verdicts: dict[str, list[Verdict]]) -> None:
    """Draw a panel a configuration.

    A larger and darker dot has the higher robustness among the panel's checkpoints; lines mark the offline and online
    choices; the band is one standard deviation over seeds, small dots are single seeds.
    """
    columns = min(3, len(configurations))
    rows = -(-len(configurations) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.5 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(configurations) :]:
        axes.set_axis_off()
    for axes, configuration in zip(panels, configurations, strict=False):
        _panel(axes, configuration, verdicts[configuration.name])
    handles = [_line(name, *style) for name, style in CHOSEN.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _panel(axes: Any, configuration: Configuration, verdicts: list[Verdict]) -> None:
    means = seed_means(configuration)
    epochs = list(means)
    places = {epoch: place for place, epoch in enumerate(epochs)}
    middle = [means[epoch].mean for epoch in epochs]
    spread = [means[epoch].std if means[epoch].n > 1 else 0.0 for epoch in epochs]
    low, high = ([m + sign * s for m, s in zip(middle, spread, strict=True)] for sign in (-1, 1))
    axes.fill_between(range(len(epochs)), low, high, color="#0072B2", alpha=0.15, linewidth=0)
    axes.plot(range(len(epochs)), middle, color="#0072B2", linewidth=1)
    axes.scatter(
        [places[epoch] for epoch, _ in configuration.dice], list(configuration.dice.values()), s=6, color="#0072B2", alpha=0.5
    )
    strength = _scaled(configuration.robustness)
    for epoch in epochs:
        value = strength.get(epoch)
        shade, size = (0.5, 30.0) if value is None else (0.85 - 0.85 * value, 30 + 150 * value)
        axes.scatter(places[epoch], means[epoch].mean, s=size, color=str(shade), zorder=3)
        if epoch in configuration.robustness:
            text = f"{configuration.robustness[epoch]:.3f}"
            axes.annotate(text, (places[epoch], 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=6.5, color="0.3",
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # fmt: skip
    for verdict in verdicts:
        if verdict.selector in CHOSEN and verdict.epoch is not None:
            colour, style = CHOSEN[verdict.selector]
            axes.axvline(places[verdict.epoch], color=colour, linestyle=style, linewidth=1.2, zorder=1)
    axes.margins(y=0.18)
    axes.set_xticks(range(len(epochs)), [str(epoch) for epoch in epochs])
    axes.set_xlabel("pretraining epochs (robustness above the axis)", fontsize=8)
    axes.set_ylabel("test Dice", fontsize=8)
    axes.set_title(configuration.name, fontsize=9, loc="left")
    axes.grid(axis="y", alpha=0.3)


def _scaled(robustness: dict[int, float]) -> dict[int, float]:
    if not robustness:
        return {}
    low, high = min(robustness.values()), max(robustness.values())
    return {epoch: (value - low) / (high - low) if high > low else 0.5 for epoch, value in robustness.items()}


def _line(name: str, colour: str, style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, label=f"{name} choice by robustness")
