"""Picture of the curves of a target's fine-tunings, with a colour per initialisation."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.figure import FigureBase

from medtransfer.analysis.learning import Learning
from medtransfer.report.format import number
from medtransfer.report.plots.by_size import COLOURS, HEIGHT, ROW, WIDTH
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.frame import frame
from medtransfer.selectors.marks import BLACK, GREY


def validation_curves(learnings: Sequence[Learning], label: str, title: str) -> Markup:
    """Draw the curves for the page; the initialisations beyond the number of colours are left out.

    Args:
        learnings: initialisations from the best to the worst.
        label: label of the metric.
        title: title for screen readers.
    """
    drawn = learnings[: len(COLOURS)]
    height = HEIGHT + ROW * len(drawn)
    figure = blank(WIDTH, height)
    draw_curves(figure, drawn, label, height)
    return to_svg(figure, title)


def draw_curves(figure: FigureBase, learnings: Sequence[Learning], label: str, height: float) -> None:
    """Draw a thin line per run, a thick one for their mean, and the level that counts as reached."""
    floor = ROW * len(learnings) + 46
    axes = figure.add_axes((0.1, floor / height, 0.87, (height - floor - 30) / height))
    frame(axes, 4)
    axes.axhline(learnings[0].level, color=GREY, linewidth=1, linestyle=":")
    for one, colour in zip(learnings, COLOURS, strict=False):
        for curve in one.curves:
            axes.plot(list(curve), list(curve.values()), color=colour, alpha=0.35, linewidth=0.8, clip_on=False)
        mean = one.mean
        style = "-" if one.start.origin else "--"
        axes.plot(list(mean), list(mean.values()), style, color=colour, linewidth=1.8, label=one.start.name, clip_on=False)
        epoch = max(mean)
        axes.scatter([epoch], [mean[epoch]], 20, colour, zorder=3, clip_on=False, urls=[
            f"{one.start.name}: {number(mean[epoch])} after epoch {epoch}"
        ])  # fmt: skip
    figure.text(0.012, 1 - 14 / height, f"{learnings[0].samples} {label}", color=BLACK)
    figure.text(0.012, (floor - 36) / height, "fine-tuning epoch", color=BLACK)
    figure.legend(loc="lower left", bbox_to_anchor=(0, 0), frameon=False, fontsize=10.5, labelcolor=BLACK, labelspacing=0.25)
