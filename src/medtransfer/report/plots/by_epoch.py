"""Dice above robustness by pretraining epoch: the panel of one judged pool, as SVG text."""

from collections.abc import Sequence
from html import escape
from typing import Any

from medtransfer.analysis.model import Candidate, Interval, Judged
from medtransfer.report.format import between, number, probability, spread
from medtransfer.report.plots.svg import Scale, decimals, drawing, line, mark, polyline, text, ticks
from medtransfer.selectors.marks import BLUE, GREY
from medtransfer.selectors.selectors import CONTRASTED, ORACLE

WIDTH, HEIGHT = 320, 232
LEFT, RIGHT, LANE, TOP, BOTTOM = 40, 306, 12, 26, 206
STRIP = 50  # of robustness, at the bottom
GAP = 20
MARKED = {selector.name: selector for selector in (*CONTRASTED, ORACLE)}
STYLE = f"""
svg text{{font-size:10px;fill:{GREY}}} svg .m{{text-anchor:middle}} svg .e{{text-anchor:end}} svg .b{{fill:#1a1a1a}}
svg path{{stroke-linejoin:round}} .grid{{stroke:#000;opacity:.11}} .axis{{stroke:#8a8a8a}} .band{{fill:{BLUE};opacity:.16}}
.dice{{fill:none;stroke:{BLUE};stroke-width:1.4}} .near{{fill:{BLUE};stroke:{BLUE};stroke-width:1.4}}
.far{{fill:#fff;stroke:{BLUE};stroke-width:1.4}} .rob{{fill:none;stroke:{GREY};stroke-width:1.2}} .dot{{fill:{GREY}}}
.guide{{stroke-width:1.2;fill:none}}
""" + "\n".join(
    f".v-{selector.name}{{stroke:{selector.mark.colour}{';stroke-dasharray:4 3' if selector.mark.line == '--' else ''}}}"
    for selector in CONTRASTED
)


def chosen(judged: Judged) -> dict[str, int]:
    """Return the epochs to mark, by name of the selector."""
    choices = {name: judged.by_selector[name].candidate for name in MARKED if name in judged.by_selector}
    return {name: int(epoch) for name, epoch in choices.items() if epoch is not None}


def dice_by_epoch(judged: Judged) -> str:
    """Draw Dice by epoch with its band of one standard deviation over seeds, robustness with its interval below.

    Epochs are equally spaced. A filled dot is within noise of the best checkpoint, a hollow one is not.
    """
    points = judged.candidates
    if not points:
        return drawing(WIDTH, 40, judged.name, text(WIDTH / 2, 24, "nothing was fine-tuned", "m"))
    across = Scale(0, len(points) - 1, LEFT + 14, RIGHT - 12)
    places = {one.key: across(place) for place, one in enumerate(points)}
    scored = [one for one in points if one.robustness is not None]
    floor = BOTTOM - STRIP - GAP if scored else BOTTOM
    parts = [_guides(chosen(judged), places), _dice(points, places, floor)]
    if scored:
        parts.append(_robustness(scored, places))
    parts += [line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"), _epochs(places), _marks(chosen(judged), places)]
    return drawing(WIDTH, HEIGHT, f"{judged.name}: test Dice and robustness by pretraining epoch", "".join(parts))


def _said_of_dice(one: Candidate) -> str:
    said = f"epoch {one.key}: Dice {spread(one.mean, one.std)}, {one.seeds} seed{'s' if one.seeds > 1 else ''}"
    if one.interval is None:
        return said
    near = "" if one.within_noise else "not "
    return f"{said}; interval {between(one.interval)}; P(best) {probability(one.p_best)}; {near}within noise of the best"


def _said_of_robustness(one: Candidate) -> str:
    bounds = f" ({between(one.robustness_interval)})" if one.robustness_interval else ""
    return f"epoch {one.key}: robustness {number(one.robustness)}{bounds}"


def _dice(points: Sequence[Candidate], places: dict[Any, float], floor: float) -> str:
    spreads = [one.std if one.std == one.std else 0.0 for one in points]
    lows = [one.mean - std for one, std in zip(points, spreads, strict=True)]
    highs = [one.mean + std for one, std in zip(points, spreads, strict=True)]
    up = Scale(*_padded(min(lows), max(highs)), floor, TOP)
    above = [f"{places[one.key]:g} {up(high):g}" for one, high in zip(points, highs, strict=True)]
    below = [f"{places[one.key]:g} {up(low):g}" for one, low in zip(points, lows, strict=True)]
    band = f'<path class="band" d="M{"L".join(above + below[::-1])}z"/>' if any(spreads) and len(points) > 1 else ""
    dots = "".join(
        f'<circle class="{"near" if one.within_noise else "far"}" cx="{places[one.key]:g}" cy="{up(one.mean):g}" r="3.6">'
        f"<title>{escape(_said_of_dice(one))}</title></circle>"
        for one in points
    )
    curve = polyline([(places[one.key], up(one.mean)) for one in points], "dice")
    return _levels(up, 4) + text(4, LANE + 4, "Dice", "b") + band + curve + dots


def _robustness(scored: Sequence[Candidate], places: dict[Any, float]) -> str:
    values = [(one, one.robustness or 0.0, one.robustness_interval) for one in scored]
    bounds = [bound for _, value, interval in values for bound in (interval or (value,))]
    up = Scale(*_padded(min(bounds), max(bounds)), BOTTOM, BOTTOM - STRIP)
    parts = [_levels(up, 3), text(4, BOTTOM - STRIP - 6, "robustness", "b")]
    runs: list[list[tuple[float, float]]] = [[]]
    epochs = list(places)
    for place, (one, value, interval) in enumerate(values):
        x, y = places[one.key], up(value)
        if place and epochs.index(one.key) > epochs.index(scored[place - 1].key) + 1:
            runs.append([])  # no line across a checkpoint without robustness
        runs[-1].append((x, y))
        if interval is not None:
            parts.append(line(x, up(interval[0]), x, up(interval[1]), "rob"))
        parts.append(
            f'<circle class="dot" cx="{x:g}" cy="{y:g}" r="2.2"><title>{escape(_said_of_robustness(one))}</title></circle>'
        )
    return "".join(parts) + "".join(polyline(run, "rob") for run in runs)


def _padded(low: float, high: float) -> Interval:
    margin = 0.08 * (high - low) or max(abs(high) * 0.02, 0.01)
    return low - margin, high + margin


def _levels(up: Scale, most: int) -> str:
    values = ticks(up.low, up.high, most)
    places = decimals(values)
    return "".join(
        line(LEFT, up(value), RIGHT, up(value), "grid") + text(LEFT - 4, up(value) + 3.5, f"{value:.{places}f}", "e")
        for value in values
    )


def _guides(marks: dict[str, int], places: dict[Any, float]) -> str:
    names = [selector.name for selector in CONTRASTED if selector.name in marks]
    parts = []
    for name in names:
        same = [other for other in names if marks[other] == marks[name]]
        x = places[marks[name]] + 3 * (same.index(name) - (len(same) - 1) / 2)
        parts.append(line(x, LANE + 6, x, BOTTOM, f"guide v-{name}"))
    return "".join(parts)


def _marks(marks: dict[str, int], places: dict[Any, float]) -> str:
    parts = []
    for epoch in sorted(set(marks.values())):
        names = [name for name in MARKED if marks.get(name) == epoch]
        start = places[epoch] - 6 * (len(names) - 1)
        parts += [
            mark(MARKED[name].mark, start + 12 * index, LANE, 4.6, f"{MARKED[name].label}: epoch {epoch}")
            for index, name in enumerate(names)
        ]
    return "".join(parts)


def _epochs(places: dict[Any, float]) -> str:
    """Label the epochs, as many as stand apart, the last one always."""
    shown: list[tuple[int, float]] = []
    for epoch, x in reversed(places.items()):
        if not shown or shown[-1][1] - x > 3 * (len(str(epoch)) + len(str(shown[-1][0]))) + 4:
            shown.append((epoch, x))
    return "".join(text(x, BOTTOM + 14, str(epoch), "m") for epoch, x in shown) + text(4, BOTTOM + 14, "epoch", "b")
