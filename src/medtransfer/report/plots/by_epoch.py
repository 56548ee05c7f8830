"""A judged configuration goes in; its chart as one SVG text, Dice above robustness by pretraining epoch, comes out."""

from collections.abc import Sequence
from html import escape

from medtransfer.analysis.model import Checkpoint, Interval, Judged
from medtransfer.report.format import between, number, probability, spread
from medtransfer.report.plots.svg import BLUE, GREEN, GREY, VERMILLION, Scale, decimals, drawing, line, mark, polyline, text, ticks

WIDTH, HEIGHT = 320, 232
LEFT, RIGHT, LANE, TOP, BOTTOM = 40, 306, 12, 26, 206
STRIP = 50  # of robustness, at the bottom
GAP = 20
CHOSEN = ("offline", "online", "best")
STYLE = f"""
svg text{{font-size:10px;fill:{GREY}}} svg .m{{text-anchor:middle}} svg .e{{text-anchor:end}} svg .b{{fill:#1a1a1a}}
svg path{{stroke-linejoin:round}} .grid{{stroke:#000;opacity:.11}} .axis{{stroke:#8a8a8a}} .band{{fill:{BLUE};opacity:.16}}
.dice{{fill:none;stroke:{BLUE};stroke-width:1.4}} .near{{fill:{BLUE};stroke:{BLUE};stroke-width:1.4}}
.far{{fill:#fff;stroke:{BLUE};stroke-width:1.4}} .rob{{fill:none;stroke:{GREY};stroke-width:1.2}} .dot{{fill:{GREY}}}
.v-offline,.v-online{{stroke-width:1.2;fill:none}}
.v-offline{{stroke:{VERMILLION}}} .v-online{{stroke:{GREEN};stroke-dasharray:4 3}}
"""


def chosen(judged: Judged) -> dict[str, int]:
    """Give the epochs to mark: `offline` and `online` where they could choose, `best` where there is a verdict."""
    by_name = {one.selector: one.epoch for one in judged.verdicts}
    marks = {"offline": by_name.get("offline"), "online": by_name.get("online"), "best": by_name.get("oracle")}
    return {name: epoch for name, epoch in marks.items() if epoch is not None}


def dice_by_epoch(judged: Judged) -> str:
    """Draw Dice by epoch with its band of one standard deviation over seeds, robustness with its interval below.

    Epochs stand at equal distances. A filled dot is within noise of the best checkpoint, a hollow one is not.
    """
    points = judged.checkpoints
    if not points:
        return drawing(WIDTH, 40, judged.name, text(WIDTH / 2, 24, "nothing was fine-tuned", "m"))
    across = Scale(0, len(points) - 1, LEFT + 14, RIGHT - 12)
    places = {one.epoch: across(place) for place, one in enumerate(points)}
    scored = [one for one in points if one.robustness is not None]
    floor = BOTTOM - STRIP - GAP if scored else BOTTOM
    parts = [_guides(chosen(judged), places), _dice(points, places, floor)]
    if scored:
        parts.append(_robustness(scored, places))
    parts += [line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"), _epochs(places), _marks(chosen(judged), places)]
    return drawing(WIDTH, HEIGHT, f"{judged.name}: test Dice and robustness by pretraining epoch", "".join(parts))


def _said_of_dice(one: Checkpoint) -> str:
    said = f"epoch {one.epoch}: Dice {spread(one.dice, one.std)}, {one.seeds} seed{'s' if one.seeds > 1 else ''}"
    if one.dice_interval is None:
        return said
    near = "" if one.within_noise else "not "
    return f"{said}; interval {between(one.dice_interval)}; P(best) {probability(one.p_best)}; {near}within noise of the best"


def _said_of_robustness(one: Checkpoint) -> str:
    bounds = f" ({between(one.robustness_interval)})" if one.robustness_interval else ""
    return f"epoch {one.epoch}: robustness {number(one.robustness)}{bounds}"


def _dice(points: Sequence[Checkpoint], places: dict[int, float], floor: float) -> str:
    spreads = [one.std if one.std == one.std else 0.0 for one in points]
    lows = [one.dice - std for one, std in zip(points, spreads, strict=True)]
    highs = [one.dice + std for one, std in zip(points, spreads, strict=True)]
    up = Scale(*_padded(min(lows), max(highs)), floor, TOP)
    above = [f"{places[one.epoch]:g} {up(high):g}" for one, high in zip(points, highs, strict=True)]
    below = [f"{places[one.epoch]:g} {up(low):g}" for one, low in zip(points, lows, strict=True)]
    band = f'<path class="band" d="M{"L".join(above + below[::-1])}z"/>' if any(spreads) and len(points) > 1 else ""
    dots = "".join(
        f'<circle class="{"near" if one.within_noise else "far"}" cx="{places[one.epoch]:g}" cy="{up(one.dice):g}" r="3.6">'
        f"<title>{escape(_said_of_dice(one))}</title></circle>"
        for one in points
    )
    curve = polyline([(places[one.epoch], up(one.dice)) for one in points], "dice")
    return _levels(up, 4) + text(4, LANE + 4, "Dice", "b") + band + curve + dots


def _robustness(scored: Sequence[Checkpoint], places: dict[int, float]) -> str:
    values = [(one, one.robustness or 0.0, one.robustness_interval) for one in scored]
    bounds = [bound for _, value, interval in values for bound in (interval or (value,))]
    up = Scale(*_padded(min(bounds), max(bounds)), BOTTOM, BOTTOM - STRIP)
    parts = [_levels(up, 3), text(4, BOTTOM - STRIP - 6, "robustness", "b")]
    runs: list[list[tuple[float, float]]] = [[]]
    epochs = list(places)
    for place, (one, value, interval) in enumerate(values):
        x, y = places[one.epoch], up(value)
        if place and epochs.index(one.epoch) > epochs.index(scored[place - 1].epoch) + 1:
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


def _guides(marks: dict[str, int], places: dict[int, float]) -> str:
    both = marks.get("offline") == marks.get("online")
    shift = {"offline": -1.5 if both else 0.0, "online": 1.5 if both else 0.0}
    return "".join(
        line(places[epoch] + shift[name], LANE + 6, places[epoch] + shift[name], BOTTOM, f"v-{name}")
        for name, epoch in marks.items() if name in shift
    )  # fmt: skip


def _marks(marks: dict[str, int], places: dict[int, float]) -> str:
    parts = []
    for epoch in sorted(set(marks.values())):
        names = [name for name in CHOSEN if marks.get(name) == epoch]
        start = places[epoch] - 6 * (len(names) - 1)
        parts += [mark(name, start + 12 * place, LANE, 4.6, f"{name}: epoch {epoch}") for place, name in enumerate(names)]
    return "".join(parts)


def _epochs(places: dict[int, float]) -> str:
    """Label the epochs, as many as stand apart, the last one always."""
    shown: list[tuple[int, float]] = []
    for epoch, x in reversed(places.items()):
        if not shown or shown[-1][1] - x > 3 * (len(str(epoch)) + len(str(shown[-1][0]))) + 4:
            shown.append((epoch, x))
    return "".join(text(x, BOTTOM + 14, str(epoch), "m") for epoch, x in shown) + text(4, BOTTOM + 14, "epoch", "b")
