"""Dice by epoch of several pools, with robustness as the size of the dots, as a PNG like the paper's Fig. 3."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from medtransfer.analysis.model import Judged
from medtransfer.records import atomic_path
from medtransfer.selectors.selectors import CONTRASTED

MOST_PANELS = 36


def draw(path: Path, judged: Sequence[Judged]) -> None:
    """Draw one panel per pool, the first MOST_PANELS of them; the page shows all.

    A larger and darker dot has the higher robustness among the panel's checkpoints; lines mark the offline and online
    choices; the band is one standard deviation over seeds, small dots are single seeds.
    """
    shown = judged[:MOST_PANELS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.5 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for axes, one in zip(panels, shown, strict=False):
        _panel(axes, one)
    handles = [_line(s.name, s.mark.colour, s.mark.line) for s in CONTRASTED]
    rest = f"; {len(judged) - len(shown)} more configurations in report.html" if len(judged) > len(shown) else ""
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, title=rest.removeprefix("; "))
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _panel(axes: Any, judged: Judged) -> None:
    checkpoints = judged.candidates
    places = {one.key: place for place, one in enumerate(checkpoints)}
    middle = [one.mean for one in checkpoints]
    spread = [one.std if one.seeds > 1 else 0.0 for one in checkpoints]
    low, high = ([m + sign * s for m, s in zip(middle, spread, strict=True)] for sign in (-1, 1))
    axes.fill_between(range(len(checkpoints)), low, high, color="#0072B2", alpha=0.15, linewidth=0)
    axes.plot(range(len(checkpoints)), middle, color="#0072B2", linewidth=1)
    dice = judged.pool.outcome
    axes.scatter([places[epoch] for epoch, _ in dice], list(dice.values()), s=6, color="#0072B2", alpha=0.5)
    strength = _scaled({one.key: one.robustness for one in checkpoints if one.robustness is not None})
    for one in checkpoints:
        value = strength.get(one.key)
        shade, size = (0.5, 30.0) if value is None else (0.85 - 0.85 * value, 30 + 150 * value)
        axes.scatter(places[one.key], one.mean, s=size, color=str(shade), zorder=3)
        if one.robustness is not None:
            axes.annotate(f"{one.robustness:.3f}", (places[one.key], 0.02), xycoords=("data", "axes fraction"), ha="center",
                          fontsize=6.5, color="0.3", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # fmt: skip
    for selector in CONTRASTED:
        verdict = judged.by_selector.get(selector.name)
        if verdict is not None and verdict.candidate is not None:
            axes.axvline(
                places[verdict.candidate], color=selector.mark.colour, linestyle=selector.mark.line, linewidth=1.2, zorder=1
            )
    axes.margins(y=0.18)
    axes.set_xticks(range(len(checkpoints)), [str(one.key) for one in checkpoints])
    axes.set_xlabel("pretraining epochs (robustness above the axis)", fontsize=8)
    axes.set_ylabel("test Dice", fontsize=8)
    axes.set_title(judged.name, fontsize=9, loc="left")
    axes.grid(axis="y", alpha=0.3)


def _scaled(robustness: dict[Any, float]) -> dict[Any, float]:
    if not robustness:
        return {}
    low, high = min(robustness.values()), max(robustness.values())
    return {epoch: (value - low) / (high - low) if high > low else 0.5 for epoch, value in robustness.items()}


def _line(name: str, colour: str, style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, label=f"{name} choice by robustness")
