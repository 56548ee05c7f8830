"""Panels of several pools as one PNG."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medtransfer.analysis.model import Judged
from medtransfer.records import atomic_path
from medtransfer.report.format import fold
from medtransfer.report.plots.by_epoch import Drawn, draw_panel
from medtransfer.selectors.marks import BLUE
from medtransfer.selectors.selectors import CONTRASTED
from medtransfer.wording import counted

MOST_PANELS = 36
LETTERS = 50  # of a line of a heading; as many of the usual width fit
LINE = 0.6  # height of a further line of a heading, relative to a heading of one


def with_curves(judged: Sequence[Judged]) -> list[Judged]:
    """Return the pools of several checkpoints, whose panels show more than a dot; all where none has several."""
    return [pool for pool in judged if len(pool.candidates) > 1] or list(judged)


def draw(path: Path, judged: Sequence[Judged]) -> None:
    """Draw one panel per pool `with_curves`, at most MOST_PANELS, with a legend below."""
    curves = with_curves(judged)
    shown, columns = curves[:MOST_PANELS], min(3, len(curves))
    rows = -(-len(shown) // columns)
    handles = _handles(Drawn.of(shown), len(judged) - len(shown))
    lines = max(1, -(-len(handles) // (2 * columns)))
    foot_height = 0.15 + 0.25 * lines
    names = [fold(pool.name, LETTERS) for pool in shown]
    head = 1 + LINE * max((name.count("\n") for name in names), default=0)
    height = 3.6 * (1 + (head - 1) / 13) * rows
    figure = Figure(figsize=(4.6 * columns, height + foot_height))
    (body,), (foot,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(height, foot_height))
    for cell, pool, name in zip(body.subfigures(rows, columns, squeeze=False).ravel(), shown, names, strict=False):
        (heading,), (panel,) = cell.subfigures(2, 1, squeeze=False, height_ratios=(head, 12))
        heading.text(0.012, 0.2 / head, name, fontsize=10, va="bottom" if "\n" in name else "baseline")
        draw_panel(panel, pool)
    foot.legend(handles=handles, loc="center", ncols=-(-len(handles) // lines), frameon=False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _handles(drawn: Drawn, more: int) -> list[Line2D]:
    """Return the entries of the legend: the choices, the two kinds of dots, and how many configurations are not drawn.

    Args:
        drawn: what the panels show.
        more: number of configurations that are not drawn.
    """
    handles = [
        Line2D([], [], color=s.mark.colour, marker=s.mark.marker, linestyle=s.mark.line if s in CONTRASTED else "", label=s.label)
        for s in drawn.choices
    ]
    dots = [("o" if index == 0 else "", BLUE, text) for index, text in enumerate(drawn.near)]
    dots += [("o", "white", drawn.far)] if drawn.far else []
    dots += [("", "", counted(more, "more configuration"))] if more else []
    for marker, face, label in dots:
        handles.append(Line2D([], [], color=BLUE, marker=marker, markerfacecolor=face or None, linestyle="", label=label))
    return handles
