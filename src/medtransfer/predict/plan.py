"""How a picture is predicted: resized or by windows, and which flipped copies are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

AXES = {"horizontal": -1, "vertical": -2}  # the axis that a flip reverses


@dataclass(frozen=True)
class Plan:
    """How a picture is predicted.

    Attributes:
        slide: whether windows slide over the picture at its own size; otherwise it is resized to the model's.
        overlap: share of a window's side that it has in common with the next one, in [0, 1).
        flips: axes of AXES; the predictions of all flipped copies are averaged.
    """

    slide: bool = False
    overlap: float = 0.0
    flips: Sequence[str] = ()
