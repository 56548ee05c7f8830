"""Plotting area of a small panel: positions to the right, values upwards, horizontal lines at round values.

It is drawn with a few artists of the figure: making matplotlib's axes with their ticks takes eight times as long, which counts
where there are dozens of panels.
"""

import math
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from matplotlib.transforms import Bbox, BboxTransformFrom, BboxTransformTo, ScaledTranslation, Transform, blended_transform_factory

from medtransfer.selectors.frame import EDGE, FONT, LINES, MARGINS, PAD
from medtransfer.selectors.marks import GREY


class Area:
    """Part of a figure that shows values at positions.

    Attributes:
        figure: the figure, or a part of one.
        view: lowest and highest position and value that are visible.
        shares: transform from shares of the area's width and height.
        data: transform from positions and values.
        artists: what was drawn.
    """

    def __init__(
        self, figure: Figure | SubFigure, box: Bbox, positions: Sequence[float], values: Sequence[float], most: int
    ) -> None:
        """Draw the lines and their labels.

        Args:
            figure: the figure, or a part of one.
            box: where the area is, in shares of the figure.
            positions: to leave room for.
            values: to leave room for.
            most: lines, less one.
        """
        locator = MaxNLocator(most, steps=[1, 2, 5, 10])
        sides = [locator.nonsingular(*_range(shown)) for shown in (positions, values)]
        margins = [share * (high - low) for share, (low, high) in zip(MARGINS, sides, strict=True)]
        (left, right), (low, high) = [(a - margin, b + margin) for margin, (a, b) in zip(margins, sides, strict=True)]
        self.figure, self.view = figure, Bbox([[left, low], [right, high]])
        self.artists: list[Artist] = []
        self.shares: Transform = BboxTransformTo(box) + figure.transSubfigure
        self.data: Transform = BboxTransformFrom(self.view) + self.shares
        round_values = [value for value in locator.tick_values(low, high) if low <= value <= high]
        self._write_values(round_values)
        for value in round_values:
            self.add(Line2D([left, right], [value, value], color=LINES, linewidth=1, zorder=0.5))

    def add(self, artist: Artist, transform: Transform | None = None) -> None:
        """Draw an artist, placed by positions and values unless by another transform; it may reach beyond the area."""
        artist.set_transform(transform or self.data)
        self.artists.append(self.figure.add_artist(artist))

    def shifted(self, transform: Transform, right: float, up: float) -> Transform:
        """Return a transform moved by points."""
        return transform + ScaledTranslation(right / 72, up / 72, self.figure.dpi_scale_trans)

    @property
    def above(self) -> Transform:
        """Transform from positions, and from shares of the area's height."""
        return blended_transform_factory(self.data, self.shares)

    def _write_values(self, values: list[float]) -> None:
        formatter = ScalarFormatter(useOffset=False)
        formatter.set_scientific(False)
        formatter.create_dummy_axis()
        beside = self.shifted(self.data, -PAD, 0)
        for value, label in zip(values, formatter.format_ticks(values), strict=True):
            self.add(Text(self.view.x0, value, label, ha="right", va="center_baseline", fontsize=FONT, color=GREY), beside)

    def label_positions(self, labels: dict[int, str]) -> None:
        """Draw the lower edge, and labels of positions below it."""
        below = self.shifted(self.above, 0, -PAD)
        for position, label in labels.items():
            self.add(Text(position, 0, label, ha="center", va="top", fontsize=FONT, color=GREY), below)
        self.add(Line2D([0, 1], [0, 0], color=EDGE, linewidth=0.8, zorder=2.5), self.shares)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest finite value; 0 and 1 if there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (0.0, 1.0)
