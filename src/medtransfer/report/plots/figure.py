"""Panels of several pools as one PNG."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medtransfer.analysis.model import Judged
from medtransfer.records import atomic_path
from medtransfer.report.plots.by_epoch import MARKED, draw_panel
from medtransfer.selectors.selectors import CONTRASTED

MOST_PANELS = 36


def draw(path: Path, judged: Sequence[Judged]) -> None:
    """Draw one panel per pool, at most MOST_PANELS, with a legend of the choices below."""
    shown, columns = judged[:MOST_PANELS], min(3, len(judged))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.6 * rows + 0.4))
    (body,), (foot,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.6 * rows, 0.4))
    for cell, pool in zip(body.subfigures(rows, columns, squeeze=False).ravel(), shown, strict=False):
        (heading,), (panel,) = cell.subfigures(2, 1, squeeze=False, height_ratios=(1, 12))
        heading.text(0.012, 0.2, pool.name, fontsize=10)
        draw_panel(panel, pool)
    handles = [
        Line2D([], [], color=s.mark.colour, marker=s.mark.marker, linestyle=s.mark.line if s in CONTRASTED else "", label=s.label)
        for s in MARKED
    ]
    if len(judged) > len(shown):
        handles.append(Line2D([], [], linestyle="", label=f"{len(judged) - len(shown)} more configurations"))
    foot.legend(handles=handles, loc="center", ncols=len(handles), frameon=False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=130, format="png")
