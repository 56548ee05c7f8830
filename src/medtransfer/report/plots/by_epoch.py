"""Panel of one judged pool: the outcome above robustness, by pretraining epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil, isnan, nan

from markupsafe import Markup
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Polygon
from matplotlib.transforms import Bbox, IdentityTransform

from medtransfer.analysis.model import Candidate, Judged
from medtransfer.analysis.pool import Pool
from medtransfer.metrics.uncertainty import LEAST_SEEDS
from medtransfer.report.format import between, number, probability, spread
from medtransfer.report.plots.area import Area
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.marks import BLACK, BLUE, GREY
from medtransfer.selectors.score_names import score_label
from medtransfer.selectors.selectors import CONTRASTED, ORACLE, Selector

WIDTH, HEIGHT = 320, 232  # px
LEFT, RIGHT, FLOOR, TOP = 0.125, 0.96, 0.115, 0.885  # shares of the panel
ROBUSTNESS_TOP, OUTCOME_FLOOR = 0.33, 0.415
DOT, LEAST_DOT = 7.0, 2.0  # diameter, pt
ROUND = [digit * 10**power for power in range(1, 7) for digit in (1, 2, 5)]  # distances of labels, epochs
MARKED = (*CONTRASTED, ORACLE)


def dice_by_epoch(judged: Judged) -> Markup:
    """Draw the panel of a pool for the page."""
    figure = blank(WIDTH, HEIGHT if judged.candidates else 40)
    draw_panel(figure, judged)
    return to_svg(figure, f"{judged.name}: test {judged.pool.metric.label} and robustness by pretraining epoch")


@dataclass(frozen=True)
class Drawn:
    """What panels show, for their legend.

    Attributes:
        choices: the selectors whose choices are marked.
        near: what filled dots mean, and remarks on them; empty if there are none.
        far: what hollow dots mean; empty likewise.
        robustness: whether one shows robustness.
    """

    choices: tuple[Selector, ...]
    near: tuple[str, ...]
    far: str
    robustness: bool

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> "Drawn":
        """Return what the panels of pools show; with two seeds epoch 0, whose spread is its own, may be near though far below."""
        candidates = [candidate for pool in judged for candidate in pool.candidates]
        keys = [{candidate.key for candidate in pool.candidates} for pool in judged]
        chosen = {one.selector for pool, own in zip(judged, keys, strict=True) for one in pool.verdicts if one.candidate in own}
        tested = [candidate.within_noise for candidate in candidates if candidate.interval is not None]
        near = ["within noise of the best"] if any(tested) else []
        near += ["epoch 0: by its own seeds"] if any(_is_near_by_its_own_seeds(pool) for pool in judged) else []
        near += ["with too few seeds: not tested"] if len(tested) < len(candidates) else []
        far = "" if all(tested) else "not within noise of the best"
        scored = any(candidate.robustness is not None for candidate in candidates)
        return cls(tuple(selector for selector in MARKED if selector in chosen), tuple(near), far, scored)


def _is_near_by_its_own_seeds(judged: Judged) -> bool:
    if not judged.pool.is_series or not judged.candidates or judged.candidates[0].interval is None:
        return False
    first, best = judged.candidates[0], max(candidate.mean for candidate in judged.candidates)
    return first.key == 0 and first.within_noise and first.mean < best and first.seeds < LEAST_SEEDS


def draw_panel(figure: Figure | SubFigure, judged: Judged) -> list[Area]:
    """Draw the outcome by epoch with its band of one standard deviation over seeds, robustness with its interval below.

    The band ends at the lowest and the highest value of the metric. Epochs are equally spaced. Filled dots are within noise of
    the best checkpoint, hollow ones are not. Marks above the panel show the choices; those by robustness have lines below them.

    Returns:
        The area of the outcome and that of robustness, as far as there are any.
    """
    candidates = judged.candidates
    if not candidates:
        figure.text(0.5, 0.5, "nothing was fine-tuned", ha="center", va="center", color=GREY)
        return []
    scored = any(candidate.robustness is not None for candidate in candidates)
    floor = OUTCOME_FLOOR if scored else FLOOR
    areas = [_draw_outcome(figure, floor, judged.pool, candidates)]
    figure.text(0.012, TOP + 0.045, judged.pool.metric.label, color=BLACK)
    if scored:
        areas.append(_draw_robustness(figure, candidates))
        figure.text(0.012, ROBUSTNESS_TOP + 0.025, "robustness", color=BLACK)
    _mark_choices(areas[0], judged, (FLOOR - floor) / (TOP - floor))
    _label_epochs(areas[-1], [str(candidate.key) for candidate in candidates])
    figure.text(0.012, FLOOR - 0.05, "epoch", color=BLACK)
    return areas


def _draw_outcome(figure: Figure | SubFigure, floor: float, pool: Pool, candidates: Sequence[Candidate]) -> Area:
    positions, means = range(len(candidates)), [candidate.mean for candidate in candidates]
    spreads = [candidate.std if candidate.seeds > 1 else 0.0 for candidate in candidates]
    low, high = (
        [pool.metric.clip(mean + sign * std) for mean, std in zip(means, spreads, strict=True)] for sign in (-1, 1)
    )  # fmt: skip
    area = Area(figure, Bbox([[LEFT, floor], [RIGHT, TOP]]), positions, [*low, *high], 4)
    if any(spreads):
        outline = [*zip(positions, low, strict=True), *zip(reversed(positions), reversed(high), strict=True)]
        area.add(Polygon(outline, color=BLUE, alpha=0.16, linewidth=0))
    area.add(Line2D(positions, means, color=BLUE, linewidth=1.4))
    faces = [BLUE if candidate.within_noise else "white" for candidate in candidates]
    dot, size = MarkerStyle("o"), _dot_size(len(candidates))
    dots = PathCollection(
        [dot.get_path().transformed(dot.get_transform())], [size**2], facecolors=faces, edgecolors=BLUE, linewidths=size / 5,
        zorder=3, offsets=list(zip(positions, means, strict=True)), offset_transform=area.data,
        urls=[_described(pool, candidate) for candidate in candidates],
    )  # fmt: skip
    area.add(dots, IdentityTransform())
    return area


def _draw_robustness(figure: Figure | SubFigure, candidates: Sequence[Candidate]) -> Area:
    values = [nan if candidate.robustness is None else candidate.robustness for candidate in candidates]
    intervals = {i: c.robustness_interval for i, c in enumerate(candidates) if c.robustness_interval is not None}
    visible = [value for value in (*values, *chain(*intervals.values())) if not isnan(value)]
    area = Area(figure, Bbox([[LEFT, FLOOR], [RIGHT, ROBUSTNESS_TOP]]), range(len(candidates)), visible, 3)
    size = _dot_size(len(candidates)) / DOT
    line = Line2D(range(len(values)), values, color=GREY, linewidth=1.2, marker="o", markersize=4 * size)  # NaN interrupts the line
    area.add(line)
    bars = [[(position, low), (position, high)] for position, (low, high) in intervals.items()]
    area.add(LineCollection(bars, colors=GREY, linewidths=1.2 * size))
    return area


def _mark_choices(area: Area, judged: Judged, floor: float) -> None:
    """Mark the chosen candidates above an area, with lines down to `floor`; marks of one candidate are side by side."""
    choices = {verdict.selector: verdict.candidate for verdict in judged.verdicts if verdict.selector in MARKED}
    for position, candidate in enumerate(judged.candidates):
        selectors = [selector for selector in MARKED if choices.get(selector) == candidate.key]
        for index, selector in enumerate(selectors):
            offset, mark = index - (len(selectors) - 1) / 2, selector.mark
            dot = Line2D([position], [1], marker=mark.marker, linestyle="", color=mark.colour, markersize=8.5,
                         url=f"{selector.label}: epoch {candidate.key}")  # fmt: skip
            area.add(dot, area.shifted(area.above, 12 * offset, 15))
            if selector in CONTRASTED:
                line = Line2D([position] * 2, [floor, 1.05], linestyle=mark.line, color=mark.colour, linewidth=1.2, zorder=0.6)
                area.add(line, area.shifted(area.above, 3 * offset, 0))


def _label_epochs(area: Area, labels: Sequence[str]) -> None:
    """Label as many epochs as fit, from the last one backwards."""
    step = ceil((6 * max(map(len, labels)) + 4) / _room(len(labels)))
    step = step if step <= 5 else min(round_step for round_step in ROUND if round_step >= step)
    area.label_positions({position: labels[position] for position in range(len(labels))[::-step]})


def _room(number: int) -> float:
    """Return the px from one of so many epochs to the next."""
    return (RIGHT - LEFT) * WIDTH * 0.9 / max(1, number - 1)


def _dot_size(number: int) -> float:
    """Return the diameter of the dots, pt, so that those of up to ninety do not overlap."""
    return min(DOT, max(LEAST_DOT, 0.8 * _room(number)))


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
