"""Panel of one judged pool: the outcome above robustness, by pretraining epoch."""

from collections.abc import Sequence
from math import ceil, nan

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, Transform

from medtransfer.analysis.model import Candidate, Judged
from medtransfer.analysis.pool import Pool
from medtransfer.report.format import between, number, probability, spread
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.marks import BLACK, BLUE, GREY
from medtransfer.selectors.score_names import score_label
from medtransfer.selectors.selectors import CONTRASTED, ORACLE

WIDTH, HEIGHT = 320, 232  # px
LEFT, RIGHT, FLOOR, TOP = 0.125, 0.96, 0.115, 0.885  # shares of the panel
ROBUSTNESS_TOP, OUTCOME_FLOOR = 0.33, 0.415
MARKED = (*CONTRASTED, ORACLE)


def dice_by_epoch(judged: Judged) -> Markup:
    """Draw the panel of a pool for the page."""
    figure = blank(WIDTH, HEIGHT if judged.candidates else 40)
    draw_panel(figure, judged)
    return to_svg(figure, f"{judged.name}: test {judged.pool.metric.label} and robustness by pretraining epoch")


def draw_panel(figure: FigureBase, judged: Judged) -> None:
    """Draw the outcome by epoch with its band of one standard deviation over seeds, robustness with its interval below.

    Epochs are equally spaced. Filled dots are within noise of the best checkpoint, hollow ones are not. Marks above the
    panel show the choices; those by robustness have lines below them.
    """
    candidates = judged.candidates
    if not candidates:
        figure.text(0.5, 0.5, "nothing was fine-tuned", ha="center", va="center", color=GREY)
        return
    scored = any(candidate.robustness is not None for candidate in candidates)
    floor = OUTCOME_FLOOR if scored else FLOOR
    upper = lowest = figure.add_axes((LEFT, floor, RIGHT - LEFT, TOP - floor))
    _draw_outcome(upper, judged.pool, candidates)
    figure.text(0.012, TOP + 0.045, judged.pool.metric.label, color=BLACK)
    if scored:
        lowest = figure.add_axes((LEFT, FLOOR, RIGHT - LEFT, ROBUSTNESS_TOP - FLOOR), sharex=upper)
        _draw_robustness(lowest, candidates)
        upper.xaxis.set_visible(False)
        upper.spines["bottom"].set_visible(False)
        figure.text(0.012, ROBUSTNESS_TOP + 0.025, "robustness", color=BLACK)
    _mark_choices(upper, judged, (FLOOR - floor) / (TOP - floor))
    _label_epochs(lowest, [str(candidate.key) for candidate in candidates])
    figure.text(0.012, FLOOR - 0.05, "epoch", color=BLACK)


def _draw_outcome(axes: Axes, pool: Pool, candidates: Sequence[Candidate]) -> None:
    frame(axes, 4)
    means = [candidate.mean for candidate in candidates]
    spreads = [candidate.std if candidate.seeds > 1 else 0.0 for candidate in candidates]
    if any(spreads):
        low, high = ([mean + sign * std for mean, std in zip(means, spreads, strict=True)] for sign in (-1, 1))
        axes.fill_between(range(len(means)), low, high, color=BLUE, alpha=0.16, linewidth=0, clip_on=False)
    axes.plot(means, color=BLUE, linewidth=1.4, clip_on=False)
    faces = [BLUE if candidate.within_noise else "white" for candidate in candidates]
    axes.scatter(range(len(means)), means, 49, faces, edgecolors=BLUE, linewidths=1.4, zorder=3, clip_on=False,
                 urls=[_described(pool, candidate) for candidate in candidates])  # fmt: skip


def _draw_robustness(axes: Axes, candidates: Sequence[Candidate]) -> None:
    frame(axes, 3)
    values = [nan if candidate.robustness is None else candidate.robustness for candidate in candidates]
    axes.plot(values, color=GREY, linewidth=1.2, marker="o", markersize=4, clip_on=False)  # NaN interrupts the line
    intervals = {i: c.robustness_interval for i, c in enumerate(candidates) if c.robustness_interval is not None}
    if intervals:
        axes.vlines(list(intervals), *zip(*intervals.values(), strict=True), color=GREY, linewidth=1.2, clip_on=False)


def frame(axes: Axes, most: int) -> None:
    """Style axes: only the lower edge, and at most `most` + 1 horizontal lines at round values."""
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color("#8a8a8a")
    axes.patch.set_visible(False)
    axes.margins(0.05, 0.08)
    axes.tick_params(length=0, labelsize=10, labelcolor=GREY, pad=4)
    axes.yaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(axis="y", color="#e3e3e3", linewidth=1)
    axes.set_axisbelow(True)


def _mark_choices(axes: Axes, judged: Judged, floor: float) -> None:
    """Mark the chosen candidates above an axes, with lines down to `floor`; marks of one candidate are side by side."""
    choices = {verdict.selector: verdict.candidate for verdict in judged.verdicts if verdict.selector in MARKED}
    for position, candidate in enumerate(judged.candidates):
        selectors = [selector for selector in MARKED if choices.get(selector) == candidate.key]
        for index, selector in enumerate(selectors):
            offset, colour = index - (len(selectors) - 1) / 2, selector.mark.colour
            axes.plot([position], [1], selector.mark.marker, color=colour, markersize=8.5, clip_on=False,
                      transform=_shifted(axes, 12 * offset, 15), url=f"{selector.label}: epoch {candidate.key}")  # fmt: skip
            if selector in CONTRASTED:
                axes.plot([position] * 2, [floor, 1.05], selector.mark.line, color=colour, linewidth=1.2, clip_on=False, zorder=0.6,
                          transform=_shifted(axes, 3 * offset, 0))  # fmt: skip


def _shifted(axes: Axes, right: float, up: float) -> Transform:
    """Return the transform from a position and a share of the axes' height, moved by pixels."""
    return axes.get_xaxis_transform() + ScaledTranslation(right / 72, up / 72, axes.figure.dpi_scale_trans)


def _label_epochs(axes: Axes, labels: Sequence[str]) -> None:
    """Label as many epochs as fit, from the last one backwards."""
    room = (RIGHT - LEFT) * WIDTH * 0.9 / max(1, len(labels) - 1)  # px per epoch
    step = ceil((6 * max(map(len, labels)) + 4) / room)
    shown = range(len(labels))[::-step]
    axes.set_xticks(shown, [labels[position] for position in shown])


def _described(pool: Pool, candidate: Candidate) -> str:
    seeds = f"{candidate.seeds} seed{'s' if candidate.seeds > 1 else ''}"
    parts = [f"epoch {candidate.key}: {pool.metric.label} {spread(candidate.mean, candidate.std)}, {seeds}"]
    if candidate.interval is not None:
        near = "" if candidate.within_noise else "not "
        parts.append(f"interval {between(candidate.interval)}")
        parts.append(f"P(best) {probability(candidate.p_best)}, {near}within noise of the best")
    for name in (name for name in pool.indicators if name in candidate.scores):
        bounds = f" ({between(candidate.score_intervals[name])})" if name in candidate.score_intervals else ""
        parts.append(f"{score_label(name)} {number(candidate.scores[name])}{bounds}")
    return "; ".join(parts)
