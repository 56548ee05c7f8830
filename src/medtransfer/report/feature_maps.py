"""Pictures of maps of features, in the report and on the page of a ranking."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice

import numpy as np
from markupsafe import Markup

from medtransfer.records.feature_map import FeatureMap
from medtransfer.report import html
from medtransfer.report.plots.inline import blank, to_svg
from medtransfer.selectors.marks import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION

HEADING = "Maps of the features"
COLOURS, MARKERS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK), "osD^v"  # of classes; prime lengths to each other
SHAPES = {"o": "●", "s": "■", "D": "◆", "^": "▲", "v": "▼"}  # of MARKERS
MOST = 60  # maps on a page, of some 15 kB each
CAUTION = (
    "t-SNE of the mean of the coarsest map over each image, a point per image. It shows which images are neighbours; distances "
    "between groups and their sizes mean nothing, and a head may separate what no map does."
)


def show(maps: Mapping[str, FeatureMap]) -> Markup:
    """Render the maps of a target's candidates, by name, below the colours of the classes; of more than MOST the first."""
    classes = sorted({name for drawn in maps.values() for name in drawn.classes})
    pictures = [html.figure(_scatter(drawn, name, classes), name) for name, drawn in islice(maps.items(), MOST)]
    shown = f" The first {MOST} of {len(maps):,} candidates." if len(maps) > MOST else ""
    keys = Markup(", ").join(
        Markup('<span style="color:{}">{} {}</span>').format(colour, SHAPES[marker], name)
        for colour, marker, name in zip(cycle(COLOURS), cycle(MARKERS), classes, strict=False)
    )
    return Markup('<p>{}{}</p>\n<div class="panels">{}</div>').format(keys, shown, Markup("").join(pictures))


def _scatter(drawn: FeatureMap, title: str, classes: Sequence[str], side: float = 290) -> Markup:
    """Draw a map, a point per image in the colour of its class."""
    figure = blank(side, side)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    names = np.array(drawn.classes)
    for colour, marker, name in zip(cycle(COLOURS), cycle(MARKERS), classes, strict=False):
        x, y = drawn.positions[names == name].T
        axes.plot(x, y, marker, color=colour, markersize=4, markeredgewidth=0, alpha=0.7)
    return to_svg(figure, f"Features of {title}")
