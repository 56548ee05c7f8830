"""SVG elements as strings, scales, ticks and the marks of the ways of choosing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from medtransfer.selectors.marks import Mark


@dataclass(frozen=True)
class Scale:
    """A straight line from values to pixels: `low` falls on `start`, `high` on `end`; equal ends fall on the middle."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, to a tenth."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Write a text; `kind` is its class."""
    return f'<text x="{x:g}" y="{y:g}"{_class(kind)}>{escape(words)}</text>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Write a straight line of a class."""
    return f'<path class="{kind}" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'


def polyline(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Write a line through points; empty for fewer than two."""
    if len(points) < 2:
        return ""
    return f'<path class="{kind}" d="M{"L".join(f"{x:g} {y:g}" for x, y in points)}"/>'


def drawing(width: float, height: float, title: str, inside: str, kind: str = "") -> str:
    """Wrap elements into a picture that scales with its box and tells a screen reader what it shows."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="100%" role="img"{_class(kind)}>'
        f"<title>{escape(title)}</title>{inside}</svg>"
    )


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values within [low, high], at most `most` of them, in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    power = 10 ** math.floor(math.log10((high - low) / most))
    for step in (factor * power for factor in (1, 2, 5, 10, 20, 50)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [round(place * step, 10) for place in range(first, last + 1)]


def decimals(values: Sequence[float]) -> int:
    """Return how many decimals distinguish the ticks, 2 at least."""
    return next((n for n in range(2, 6) if all(abs(value - round(value, n)) < 1e-9 for value in values)), 5)


def _polygon(radius: float, corners: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{radius * x:.4g} {radius * y:.4g}" for x, y in corners)


def _star(radius: float) -> str:
    angles = [math.pi * place / 5 - math.pi / 2 for place in range(10)]
    return _polygon(radius, [(math.cos(a) * (1.25, 0.5)[i % 2], math.sin(a) * (1.25, 0.5)[i % 2]) for i, a in enumerate(angles)])


def _regular(radius: float, corners: int) -> str:
    angles = [2 * math.pi * index / corners - math.pi / 2 for index in range(corners)]
    return _polygon(radius, [(1.15 * math.cos(angle), 1.15 * math.sin(angle)) for angle in angles])


OUTLINES: dict[str, Callable[[float], str]] = {  # around (0, 0), by matplotlib's marker
    "^": lambda r: _polygon(r, [(0, -1.1), (1.1, 0.9), (-1.1, 0.9)]),
    "v": lambda r: _polygon(r, [(0, 1.1), (1.1, -0.9), (-1.1, -0.9)]),
    "D": lambda r: _polygon(r, [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)]),
    "s": lambda r: _polygon(r, [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
    "P": lambda r: _polygon(r, [(-0.4, -1), (0.4, -1), (0.4, -0.4), (1, -0.4), (1, 0.4), (0.4, 0.4), (0.4, 1),
                                (-0.4, 1), (-0.4, 0.4), (-1, 0.4), (-1, -0.4), (-0.4, -0.4)]),
    "_": lambda r: _polygon(r, [(-1.1, -0.35), (1.1, -0.35), (1.1, 0.35), (-1.1, 0.35)]),
    "*": _star,
    "o": lambda r: _regular(0.6 * r, 24),
    "p": lambda r: _regular(r, 5),
    "h": lambda r: _regular(r, 6),
}  # fmt: skip


def mark(drawn: Mark, x: float, y: float, radius: float = 5, title: str = "") -> str:
    """Draw the mark of a way of choosing."""
    tail = f"><title>{escape(title)}</title></path>" if title else "/>"
    return f'<path fill="{drawn.colour}" transform="translate({x:g} {y:g})" d="M{OUTLINES[drawn.marker](radius)}z"{tail}'
