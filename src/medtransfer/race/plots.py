"""Picture of a race: the validation score of every candidate in every rung, and who was cut."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from medtransfer.race.outcome import Race
from medtransfer.report.format import fold, number
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.marks import BLUE, GREY, VERMILLION
from medtransfer.wording import counted

RUNG, NAMES, LEFT, FOOT, HEAD = 150, 190, 54, 46, 12  # px of a rung, of the names, and around the axes
LINE = 15  # px between two names
LETTERS = 26  # letters of a line of a name
PALE = "#b9b9b9"


def rungs(race: Race) -> Markup:
    """Draw a column per rung and a line per candidate.

    The winner is vermillion, who cannot be distinguished from it blue, the others grey; open marks left the race there. A dashed
    line is the score of the last seat.
    """
    crowded = max(len(heat.entrants) for heat in race.heats)
    lines = 1 + max(fold(race.entrants[index].name, LETTERS).count("\n") for index in race.last.stay)
    width = LEFT + RUNG * len(race.heats) + NAMES
    height = max(260, LINE * lines * (crowded + 1)) + FOOT + HEAD
    figure = blank(width, height)
    axes = figure.add_axes(
        (LEFT / width, FOOT / height, RUNG * len(race.heats) / width, (height - FOOT - HEAD) / height)
    )  # fmt: skip
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_xlim(-0.5, len(race.heats) - 0.5)
    axes.set_xticks(
        range(len(race.heats)),
        [f"{counted(heat.epochs, 'epoch')}\n{counted(len(heat.entrants), 'candidate')}" for heat in race.heats],
        fontsize=10.5,
    )
    axes.set_ylabel(f"validation {race.metric.label}", fontsize=10.5)
    axes.tick_params(labelsize=10.5, length=3, color="#8a8a8a", labelcolor=GREY)
    for index in sorted(range(len(race.entrants)), key=lambda index: (index == race.winner, index in race.rivals)):
        _draw(axes, race, index)
    for place, heat in enumerate(race.heats[:-1]):
        cut = race.value(heat, heat.stay[min(heat.seats, len(heat.stay)) - 1])
        axes.plot(
            [place - 0.3, place + 0.3], [cut, cut], color=GREY, linestyle=(0, (4, 3)), linewidth=1.1, url=f"cut: {number(cut)}"
        )
    _name_finalists(axes, race, LINE * lines / (height - FOOT - HEAD))
    return to_svg(figure, f"Validation {race.metric.label} by rung")


def _draw(axes: Axes, race: Race, index: int) -> None:
    """Draw the line of a candidate, with its standard error in every rung."""
    colour = VERMILLION if index == race.winner else BLUE if index in race.rivals else PALE
    seen = [(place, heat) for place, heat in enumerate(race.heats) if index in heat.entrants]
    axes.plot([place for place, _ in seen], [race.value(heat, index) for _, heat in seen], color=colour, linewidth=1.3)
    for place, heat in seen:
        value, error = race.value(heat, index), race.error(heat, index)
        if error is not None:
            bounds = [race.metric.clip(value + sign * error) for sign in (-1, 1)]
            axes.plot([place, place], bounds, color=colour, linewidth=0.9)
        filled = index in heat.stay and (heat is not race.last or index == race.winner or index in race.rivals)
        axes.plot(
            [place], [value], "s" if race.entrants[index].is_random else "o", color=colour, markersize=6,
            markerfacecolor=colour if filled else "white", url=f"{race.entrants[index].name}: {number(value)}",
        )  # fmt: skip


def _name_finalists(axes: Axes, race: Race, gap: float) -> None:
    """Write the names of the last rung beside it, apart from each other by a share of the height."""
    low, high = axes.get_ylim()
    values = [race.value(race.last, index) for index in race.last.stay]
    for index, value, y in zip(race.last.stay, values, apart(values, gap * (high - low), low), strict=True):
        colour = VERMILLION if index == race.winner else BLUE if index in race.rivals else GREY
        x = len(race.heats) - 0.62
        axes.plot([x - 0.31, x + 0.08], [value, y], color="#d5d5d5", linewidth=0.8, clip_on=False, zorder=0)
        text = f"{fold(race.entrants[index].name, LETTERS)}  {number(value)}"
        axes.text(x + 0.12, y, text, color=colour, fontsize=10.5, va="center", linespacing=1.05)


def apart(values: Sequence[float], gap: float, low: float) -> list[float]:
    """Move falling values apart until neighbours differ by the gap, the first as little as possible; none below `low`."""
    moved = list(values)
    for index in range(1, len(moved)):
        moved[index] = min(moved[index], moved[index - 1] - gap)
    return [max(value, low + gap * (len(moved) - 1 - index)) for index, value in enumerate(moved)]
