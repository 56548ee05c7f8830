"""Pictures of one pretraining on one target: every quantity over the epochs, and robustness against the outcome."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from medtransfer.explain.cases import ByEpoch, Case
from medtransfer.explain.quantities import GEOMETRY, QUANTITIES, ROBUSTNESS
from medtransfer.records import atomic_path
from medtransfer.report.format import number
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.frame import frame
from medtransfer.selectors.marks import BLACK, BLUE, GREY, VERMILLION, Mark

PANEL_WIDTH, PANEL_HEIGHT, COLUMNS = 300, 170, 3  # px
LEFT, RIGHT, BELOW, ABOVE = 48, 8, 26, 30  # px around the axes of a panel
FOOT = 54  # px of the legend and the caption below a PNG file
MODE_MARKS = (Mark(BLUE, "o"), Mark(VERMILLION, "s"))  # of the first and the second mode of transfer


def level_colours(levels: Sequence[int]) -> dict[int, str]:
    """Return a colour per level, the last one dark."""
    shades = matplotlib.colormaps["viridis"]
    return {
        level: to_hex(shades(0.9 * (index / max(1, len(levels) - 1)))) for index, level in enumerate(sorted(levels, reverse=True))
    }


def draw_svg(cases: Sequence[Case], level: int) -> Markup:
    """Draw the panels of the cases of one pretraining and target for the page; arguments as of `draw`."""
    figure = blank(*_size(cases))
    draw(figure, cases, level)
    return to_svg(figure, f"{cases[0].group}: quantities by pretraining epoch, and robustness against {cases[0].pool.metric.label}")


def write_png(path: Path, cases: Sequence[Case], level: int) -> None:
    """Write the panels as a PNG file with a legend below; arguments as of `draw`."""
    width, height = _size(cases)
    figure = Figure(figsize=(width / 72, (height + FOOT) / 72))
    draw(figure, cases, level)
    colours = level_colours(sorted({level for case in cases for level in case.levels}))
    marks = [(mark, f"mode {case.pool.fields['mode']}") for case, mark in zip(cases, MODE_MARKS, strict=False)]
    marks += [(Mark(colour, "o"), f"level {level}") for level, colour in colours.items()]
    handles = [Line2D([], [], color=mark.colour, marker=mark.marker, linestyle="", label=label) for mark, label in marks]
    above = 22 / (height + FOOT)
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, above), ncols=len(handles), frameon=False,
                  columnspacing=1, handletextpad=0)  # fmt: skip
    caption = f"Across: pretraining epoch; in the last panel robustness at level {level}, darker the later the epoch."
    bands = " Bands: ± one standard deviation over seeds." if _has_bands(cases) else ""
    figure.text(0.5, 10 / (height + FOOT), caption + bands, ha="center", va="center", color=GREY, fontsize=9)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def draw(figure: Figure, cases: Sequence[Case], level: int) -> None:
    """Draw the panels: the outcome, robustness by mode, the geometry by level, and robustness against the outcome.

    Args:
        figure: to draw into, of the size that `_size` gives.
        cases: configurations of one pretraining and target, one per mode.
        level: level of the robustness that is drawn against the outcome.
    """
    epochs = sorted({int(epoch) for case in cases for epoch in case.pool.means})
    colours = level_colours(sorted({level for case in cases for level in case.levels}))
    metric = cases[0].pool.metric.label
    outcome = _place(figure, 0, _count(cases), metric)
    _draw_outcome(outcome, cases, epochs)
    for index, (title, curves) in enumerate(_curves(cases).items(), start=1):
        _draw_levels(_place(figure, index, _count(cases), title), title, curves, epochs, colours)
    _draw_scatter(_place(figure, _count(cases) - 1, _count(cases), f"{metric} against robustness"), cases, level)


def _curves(cases: Sequence[Case]) -> dict[str, dict[int, ByEpoch]]:
    """Return what the panels between the outcome and the scatter show, by title: a quantity by level and epoch."""
    robust = {f"robustness, {case.pool.fields['mode']}": _by_level(case, ROBUSTNESS) for case in cases}
    geometry = {QUANTITIES[name].label: _by_level(cases[0], name) for name in GEOMETRY}  # the same for every mode
    return robust | {title: curves for title, curves in geometry.items() if curves}


def _by_level(case: Case, name: str) -> dict[int, ByEpoch]:
    return {level: case.values[name, level] for level in case.levels if (name, level) in case.values}


def _count(cases: Sequence[Case]) -> int:
    return len(_curves(cases)) + 2


def _size(cases: Sequence[Case]) -> tuple[int, int]:
    count = _count(cases)
    return PANEL_WIDTH * min(COLUMNS, count), PANEL_HEIGHT * -(-count // COLUMNS)


def _place(figure: Figure, index: int, count: int, title: str) -> Axes:
    """Add the axes of a panel, with its title above."""
    width, height = 72 * figure.get_size_inches()
    left = PANEL_WIDTH * (index % COLUMNS)
    top = height - PANEL_HEIGHT * (index // COLUMNS)
    axes = figure.add_axes((
        (left + LEFT) / width, (top - PANEL_HEIGHT + BELOW) / height,
        (PANEL_WIDTH - LEFT - RIGHT) / width, (PANEL_HEIGHT - BELOW - ABOVE) / height,
    ))  # fmt: skip
    figure.text((left + 6) / width, (top - 18) / height, title, color=BLACK)
    frame(axes, 3)
    return axes


def _has_bands(cases: Sequence[Case]) -> bool:
    return any(all(mean.n > 1 for mean in case.pool.seed_means.values()) for case in cases)


def _draw_outcome(axes: Axes, cases: Sequence[Case], epochs: Sequence[int]) -> None:
    for case, mark in zip(cases, MODE_MARKS, strict=False):
        means = [case.pool.seed_means[epoch] for epoch in epochs if epoch in case.pool.seed_means]
        at = [index for index, epoch in enumerate(epochs) if epoch in case.pool.seed_means]
        if all(mean.n > 1 for mean in means):
            low, high = ([case.pool.metric.clip(mean.mean + sign * mean.std) for mean in means] for sign in (-1, 1))
            axes.fill_between(at, low, high, color=mark.colour, alpha=0.14, linewidth=0, clip_on=False)
        axes.plot(at, [mean.mean for mean in means], mark.marker, color=mark.colour, linestyle="-", linewidth=1.3, markersize=4.5,
                  clip_on=False, url=case.pool.fields["mode"])  # fmt: skip
    _label_epochs(axes, epochs)


def _draw_levels(axes: Axes, title: str, values: Mapping[int, ByEpoch], epochs: Sequence[int], colours: Mapping[int, str]) -> None:
    if title == QUANTITIES["variance"].label:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    for level, by_epoch in values.items():
        at = [index for index, epoch in enumerate(epochs) if epoch in by_epoch]
        axes.plot(at, [by_epoch[epochs[index]] for index in at], "o", color=colours[level], linestyle="-", linewidth=1.2,
                  markersize=3.5, clip_on=False, url=f"level {level}")  # fmt: skip
    _label_epochs(axes, epochs)


def _draw_scatter(axes: Axes, cases: Sequence[Case], level: int) -> None:
    """Draw one mark per mode and checkpoint, darker the later; the first and the last epoch are beside theirs."""
    shades = matplotlib.colormaps["cividis_r"]
    for case, mark in zip(cases, MODE_MARKS, strict=False):
        robustness = case.values.get((ROBUSTNESS, level), {})
        epochs = sorted(epoch for epoch in robustness if epoch in case.pool.means)
        for index, epoch in enumerate(epochs):
            at = robustness[epoch], case.pool.means[epoch]
            axes.plot(*at, mark.marker, color=shades(0.15 + 0.85 * index / max(1, len(epochs) - 1)), markersize=6, clip_on=False,
                      url=f"{case.pool.fields['mode']}, epoch {epoch}: {number(at[0])}, {number(at[1])}")  # fmt: skip
            if epoch in (epochs[0], epochs[-1]):
                axes.annotate(str(epoch), at, (4, 3), textcoords="offset points", color=GREY, fontsize=8)
    axes.grid(axis="x", color="#e3e3e3", linewidth=1)
    axes.locator_params(axis="x", nbins=4)


def _label_epochs(axes: Axes, epochs: Sequence[int]) -> None:
    """Label every epoch, or every second where there are many."""
    step = 1 if len(epochs) <= 7 else 2
    shown = range(len(epochs))[::-step]
    axes.set_xlim(-0.25, len(epochs) - 0.75)
    axes.set_xticks(shown, [str(epochs[index]) for index in shown])
