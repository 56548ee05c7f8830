"""Plot of the scores over the pretraining epochs: a grid with one panel per indicator."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil, sqrt
from pathlib import Path
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medtransfer.records import Score, Scores, atomic_path
from medtransfer.selectors.frame import frame
from medtransfer.selectors.marks import BLACK, BLUE, GREEN, GREY, VERMILLION
from medtransfer.selectors.score_names import score_label, score_sign

STYLES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"))
COLUMNS = 5  # at most
WIDTH, HEIGHT = 2.4, 1.75  # inches of a panel
LEFT, RIGHT, BELOW, ABOVE = 0.55, 0.1, 0.3, 0.42  # inches around the axes of a panel
HEAD, LINE = 0.4, 0.19  # inches of the title, and of a line of the caption
LETTERS = 15  # of the caption per inch
ROOM = 7  # labels of epochs below a panel, at most
Items = tuple[tuple[str, object], ...]


def draw_curves(path: Path, metrics: Mapping[str, Mapping[int, Score]], scores: Mapping[int, Scores], title: str) -> None:
    """Draw every metric over the pretraining epochs, with its standard error if known.

    Args:
        path: path of the PNG.
        metrics: rows by metric name and epoch; those of one indicator share a panel.
        scores: scores by epoch; indicators that only some epochs have are named in the caption.
        title: title of the picture.
    """
    panels: dict[str, list[str]] = {}
    for metric, rows in metrics.items():
        panels.setdefault(rows[min(rows)].indicator, []).append(metric)
    count, epochs = max(1, len(panels)), sorted(scores)
    columns = min(COLUMNS, ceil(sqrt(count)))
    settings = {indicator: _items(metrics[names[0]][epochs[0]].setting) for indicator, names in panels.items()}
    common, shared = Counter(settings.values()).most_common(1)[0] if settings else ((), 0)
    common = common if shared > 1 else ()
    measured = {name for record in scores.values() for name in record.indicators}
    text = _caption(_in_words(common), sorted(measured - panels.keys()))
    width = max(2, columns) * WIDTH
    caption = wrap(text, int(width * LETTERS))
    foot = 0.1 + LINE * (1 + len(caption))
    height = HEAD + ceil(count / columns) * HEIGHT + foot
    figure = Figure(figsize=(width, height))
    for index, (indicator, names) in enumerate(panels.items()):
        corner = (index % columns * width / columns, height - HEAD - (index // columns + 1) * HEIGHT)
        axes = figure.add_axes((
            (corner[0] + LEFT) / width, (corner[1] + BELOW) / height, (width / columns - LEFT - RIGHT) / width,
            (HEIGHT - BELOW - ABOVE) / height,
        ))  # fmt: skip
        own = settings[indicator]
        added = tuple(item for item in own if item not in common) if set(common) <= set(own) else own
        _draw_panel(axes, indicator, {name: metrics[name] for name in names}, epochs, _in_words(added))
    figure.text(0.1 / width, 1 - 0.12 / height, title, va="top", fontsize=12, color=BLACK)
    lines = "\n".join(["Horizontal: pretraining epoch, equally spaced. Vertical: score.", *caption])
    figure.text(0.1 / width, (foot - 0.08) / height, lines, va="top", fontsize=8.5, color=GREY, linespacing=1.3)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def _caption(common: str, absent: Sequence[str]) -> str:
    """Explain what all panels have in common, and which indicators are not drawn."""
    text = "A higher score is better unless a panel says otherwise; bars are one standard error."
    if common:
        text += f" Setting, with what a panel adds or unless it names another level: {common}."
    if absent:
        names = "; ".join(map(score_label, absent))
        text += f" Not drawn, since not every checkpoint was scored by them at the default setting: {names}."
    return text


def _draw_panel(
    axes: Axes, indicator: str, metrics: Mapping[str, Mapping[int, Score]], epochs: Sequence[int], setting: str
) -> None:
    frame(axes, 4)
    for (name, rows), (colour, marker) in zip(metrics.items(), cycle(STYLES), strict=False):
        values, errors = [rows[epoch].number for epoch in epochs], [rows[epoch].error or 0.0 for epoch in epochs]
        axes.errorbar(
            range(len(epochs)), values, errors, color=colour, marker=marker, markersize=4.5, linewidth=1.3, elinewidth=1,
            label=score_label(name),
        )  # fmt: skip
    step = ceil(len(epochs) / ROOM)
    shown = range(len(epochs))[::-step]  # from the last one backwards
    axes.set_xticks(list(shown), [str(epochs[position]) for position in shown])
    axes.tick_params(labelsize=8)
    axes.annotate(score_label(indicator), (0, 1), (-30, 16), "axes fraction", "offset points", fontsize=10, color=BLACK)
    remarks = "; ".join(filter(None, ["" if score_sign(indicator) > 0 else "lower is better", setting]))
    axes.annotate(remarks, (0, 1), (-30, 6), "axes fraction", "offset points", fontsize=7, color=GREY)
    if all(row.value is None for rows in metrics.values() for row in rows.values()):
        axes.text(0.5, 0.5, "not defined", transform=axes.transAxes, ha="center", fontsize=8, color=GREY)
    if len(metrics) > 1:
        axes.legend(frameon=False, fontsize=7.5, labelcolor=BLACK)


def _items(setting: Mapping[str, object]) -> Items:
    """Return the parameters of a setting, without that of pooling, by which the lines of a panel differ."""
    return tuple((name, value) for name, value in setting.items() if name != "pooled")


def _in_words(items: Items) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in items)
