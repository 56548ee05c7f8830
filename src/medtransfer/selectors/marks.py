"""Colours and shapes of the selectors in all pictures."""

from dataclasses import dataclass
from typing import Literal

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"  # Okabe & Ito, 2008
ORANGE, SKY, GREY, BLACK = "#E69F00", "#56B4E9", "#595959", "#1a1a1a"


@dataclass(frozen=True)
class Mark:
    """How a selector is drawn.

    Attributes:
        colour: hexadecimal, such as `#0072B2`.
        marker: matplotlib's name of the shape.
        line: matplotlib's style of the line that marks a choice.
    """

    colour: str
    marker: str
    line: Literal["-", "--"] = "-"
