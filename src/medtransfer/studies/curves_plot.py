"""Figure of the curves of a target's scenarios over optimiser steps, with the level that counts as reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medtransfer.analysis.time_to_reach import SHARE, Curve, mean_curve
from medtransfer.records import atomic_path
from medtransfer.report.plots.by_size import COLOURS
from medtransfer.selectors.frame import FONT, frame
from medtransfer.selectors.marks import BLACK, GREY
from medtransfer.wording import counted

STYLES = ("-", "--", ":", "-.")  # of modes
MARKERS = "osD^vPX*<>"  # beside the colours, so that 70 initialisations are distinguished
MARKED = 6  # points of a line with a marker, at most
WIDTH, HEIGHT = 7.5, 3.9  # inches of the figure without its legend
ROW, LETTERS = 0.165, 48  # inches of a line of the legend, and letters of a name in one of two columns


@dataclass(frozen=True)
class Scenario:
    """Curves of one mode and initialisation.

    Attributes:
        name: name in the legend.
        start: index of the initialisation, which has one colour and marker in all modes.
        mode: index of the mode, which has one style of lines for all initialisations.
        curves: value by step of every repetition.
    """

    name: str
    start: int
    mode: int
    curves: Sequence[Curve]

    @property
    def mean(self) -> dict[int, float]:
        """Mean over the repetitions at the steps that all have."""
        return mean_curve(self.curves)


def draw_curves(
    path: Path, scenarios: Sequence[Scenario], level: float | None, title: str, label: str, repetition: str = "run"
) -> None:  # fmt: skip
    """Draw the mean curve of every scenario.

    Args:
        path: path of the PNG.
        scenarios: scenarios with curves, from the best to the worst.
        level: value that counts as reached; None if there is none.
        title: target and size.
        label: samples and metric of the curves.
        repetition: what a repetition is, a run or a fold.
    """
    runs = sorted({len(scenario.curves) for scenario in scenarios})
    count = counted(runs[0], repetition) if len(runs) == 1 else f"{runs[0]} to {runs[-1]} {repetition}s"
    names = [scenario.name for scenario in scenarios]
    columns = 2 if len(names) > 3 and max(map(len, names)) <= LETTERS else 1
    foot = 0.65 + ROW * ceil((len(names) + (level is not None)) / columns)
    height = HEIGHT + foot
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.085, foot / height, 0.885, (HEIGHT - 0.85) / height))
    frame(axes, 6)
    for index, scenario in enumerate(scenarios):
        mean = scenario.mean
        axes.plot(
            list(mean), list(mean.values()), STYLES[scenario.mode % len(STYLES)], linewidth=1.5, markersize=5, clip_on=False,
            color=COLOURS[scenario.start % len(COLOURS)], marker=MARKERS[scenario.start % len(MARKERS)], label=scenario.name,
            markevery=(index % max(1, ceil(len(mean) / MARKED)), max(1, ceil(len(mean) / MARKED))),
        )  # fmt: skip
    handles: list[Line2D] = list(axes.lines)
    if level is not None:
        text = f"{100 * SHARE:g} % of the way from chance to the best final mean: {level:.3f}"
        handles.append(axes.axhline(level, color=GREY, linewidth=1, linestyle=(0, (1, 2)), label=text))
    figure.text(0.015, 1 - 0.12 / height, title, va="top", fontsize=12, color=BLACK)
    figure.text(
        0.015,
        1 - 0.42 / height,
        f"{label}, mean of {count} as far as all go" if runs[-1] > 1 else label,
        va="top",
        fontsize=FONT,
        color=BLACK,
    )
    axes.set_xlabel("optimiser steps", fontsize=FONT, color=BLACK, loc="left")
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 0), frameon=False, fontsize=8.5, labelcolor=BLACK, ncols=columns,
        handlelength=3.6, labelspacing=0.35, columnspacing=1.5,
    )  # fmt: skip
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=130, format="png")
