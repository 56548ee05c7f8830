"""Heat maps of linear CKA between encoders, as pictures and in the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from medtransfer.records.similarity import Similarity
from medtransfer.report import html
from medtransfer.report.plots import heat_map

HEADING = "Similarity of the encoders"
CAUTION = (
    "Linear CKA of the features of the same images: 1 if two levels arrange them alike up to rotation and scale, about 0 if "
    "they have nothing in common. It says how similar encoders are, not which is better; compare values of one target, one kind of "
    "features and one estimate only."
)
MOST_PAIRS = 21  # heat maps of pairs on the page, of seven encoders


@dataclass(frozen=True)
class HeatMap:
    """Values to draw.

    Attributes:
        values: (R, C).
        rows: labels of the rows.
        columns: labels of the columns.
        names: the encoders that rows and columns are levels of; empty where they are encoders.
    """

    values: NDArray[np.float64]
    rows: list[str]
    columns: list[str]
    names: tuple[str, str]


def main_map(similarity: Similarity) -> HeatMap:
    """Return the levels of two encoders, or more than two encoders at one level."""
    if len(similarity.encoders) == 2:
        return _pair(similarity, 0, 1)
    return HeatMap(similarity.at(similarity.level), similarity.encoders, similarity.encoders, ("", ""))


def pair_maps(similarity: Similarity) -> list[HeatMap]:
    """Return the levels of every two encoders."""
    return [_pair(similarity, *pair) for pair in combinations(range(len(similarity.encoders)), 2)]


def _pair(similarity: Similarity, first: int, second: int) -> HeatMap:
    labels = [
        [f"{level} (stride {stride})" for level, (stride, _) in enumerate(levels, start=-len(levels))]
        for levels in similarity.levels
    ]
    names = similarity.encoders[first], similarity.encoders[second]
    return HeatMap(similarity.between(first, second), labels[first], labels[second], names)


def describe(similarity: Similarity) -> str:
    """Say what the values are of, in one sentence."""
    unbiased = "unbiased" if similarity.batch == similarity.images else f"unbiased, over minibatches of {similarity.batch}"
    kind = {"unbiased": unbiased, "linear": "of all images at once"}[similarity.estimate]
    features = {"flat": "flattened maps", "pooled": "maps pooled over positions"}[similarity.features]
    return f"Linear CKA of {features} ({kind}): {similarity.images} images of the split {similarity.split} of {similarity.target}."


def write_png(path: Path, similarity: Similarity, drawn: HeatMap) -> None:
    """Write a heat map as a PNG file, with what it shows above."""
    title = " and ".join(map(heat_map.short, drawn.names)) if drawn.names[0] else f"Encoders at level {similarity.level}"
    first, _, second = describe(similarity).rstrip(".").partition(": ")
    heat_map.write_png(path, drawn.values, drawn.rows, drawn.columns, drawn.names, [title, first, second])


def show(compared: Sequence[Similarity]) -> Markup:
    """Render comparisons on one target: the main heat map of each, and those of pairs folded."""
    return Markup().join(_show(similarity, index) for index, similarity in enumerate(compared))


def _show(similarity: Similarity, index: int) -> Markup:
    drawn = main_map(similarity)
    title = " and ".join(drawn.names) if drawn.names[0] else f"{len(drawn.rows)} encoders at level {similarity.level}"
    main = html.figure(_svg(drawn, f"{index + 1}. {title}"), title, describe(similarity))
    width, _ = heat_map.size(drawn.rows, drawn.columns, drawn.names)
    parts = [Markup('<div style="max-width:{:.0f}px">{}</div>').format(width, main)]
    if len(similarity.encoders) > 2:
        pairs = pair_maps(similarity)[:MOST_PAIRS]
        pictures = (_svg(pair, f"{index + 1}. {' and '.join(pair.names)}") for pair in pairs)
        shown = Markup('<div class="panels">{}</div>').format(Markup().join(html.figure(picture) for picture in pictures))
        parts.append(html.details("Level by level", shown))
    return Markup().join(parts)


def _svg(drawn: HeatMap, title: str) -> Markup:
    return heat_map.heat_map(drawn.values, drawn.rows, drawn.columns, drawn.names, f"CKA {title}")
