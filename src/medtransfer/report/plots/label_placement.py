"""Points with names go in; where each name is written, so that it covers as little as can be and no other name, comes out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FONT = 11.5  # px
WIDTH = 0.58  # of a letter, as a share of FONT, on average

Box = tuple[float, float, float, float]  # left, top, right, bottom, px


@dataclass(frozen=True)
class Label:
    """A text at its place.

    Attributes:
        words: the text.
        x: of its middle, px.
        y: of its baseline, px.
        box: that it fills.
        far: whether it needs a line to its point.
    """

    words: str
    x: float
    y: float
    box: Box
    far: bool


def spaced(places: Iterable[float], distance: float) -> list[float]:
    """Give the places in order, moved as a whole about their middle until neighbours are `distance` apart."""
    ordered = sorted(places)
    moved: list[float] = []
    for place in ordered:
        moved.append(max(place, moved[-1] + distance) if moved else place)
    shift = (sum(moved) - sum(ordered)) / len(ordered) if ordered else 0.0
    return [place - shift for place in moved]


def place_labels(anchors: Sequence[tuple[str, float, float]], obstacles: Iterable[Box], frame: Box) -> list[Label]:
    """Put a text beside each point, within the frame, where it covers the least of the obstacles and no other text.

    Args:
        anchors: text, x and y of each point, px.
        obstacles: boxes to keep free.
        frame: box to stay in.
    """
    taken = list(obstacles)
    placed: list[Label] = []
    for words, x, y in anchors:
        candidates = _candidates(words, x, y, frame)
        best = min(candidates, key=lambda one: 20 * _covered(one.box, [p.box for p in placed]) + _covered(one.box, taken))
        placed.append(best)
    return placed


def _candidates(words: str, x: float, y: float, frame: Box) -> list[Label]:
    """List places around a point from near to far, those within the frame."""
    half = WIDTH / 2 * FONT * len(words) + 2
    found = []
    for ring, distance in enumerate((11.0, 20.0, 32.0, 46.0, 62.0, 80.0)):
        for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
            middle = x + dx * (distance + half) if dy == 0 else x + dx * (distance * 0.5 + half)
            base = y + 4 + dy * (distance + 4)
            box = (middle - half, base - FONT, middle + half, base + 3)
            if box[0] >= frame[0] and box[2] <= frame[2] and box[1] >= frame[1] and box[3] <= frame[3]:
                found.append(Label(words, round(middle, 1), round(base, 1), box, ring > 0))
    middle = min(max(x, frame[0] + half), frame[2] - half)
    return found or [Label(words, middle, y - 10, (middle - half, y - 10 - FONT, middle + half, y - 7), False)]


def _covered(box: Box, others: Iterable[Box]) -> float:
    """Give the area, in px², that a box shares with others."""
    return sum(
        max(0.0, min(box[2], right) - max(box[0], left)) * max(0.0, min(box[3], bottom) - max(box[1], top))
        for left, top, right, bottom in others
    )
