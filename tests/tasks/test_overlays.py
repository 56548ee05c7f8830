"""Overlays: pixels to ignore have a colour of their own."""

import numpy as np

from medtransfer.tasks.overlays import paint


def test_ignored_pixels_are_grey() -> None:
    painted = paint(np.zeros((1, 4, 3), np.uint8), np.array([[0, 1, 3, 255]], np.uint8))
    black, first, third, ignored = painted[0].tolist()
    assert black == [0, 0, 0] and first != third
    assert len(set(ignored)) == 1 and ignored[0] > 0  # 255 is the third colour of seven, modulo
