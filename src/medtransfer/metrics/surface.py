"""Distances between the outlines of two binary masks, in pixels or mm."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

Mask = NDArray[np.bool_]
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
SHARE = 0.95
DIAGONAL = math.sqrt(2) * (1 + 1e-9)  # rounded up
COUNTED = 8000  # steps; OpenCV's fixed-point numbers hold 8,191


def outline(mask: Mask) -> Mask:
    """Return the pixels of a mask (H, W) that share an edge with the outside; the image border counts as outside."""
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    inside = cv2.erode(pixels, CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    return (pixels - inside).view(np.bool_)  # type: ignore[no-any-return]


def surface_distances(start: Mask, end: Mask, pixel: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
    """Return the distance of each outline pixel of one non-empty mask (H, W) to the nearest of another, in units of `pixel`."""
    return _nearest(np.flatnonzero(outline(start)), outline(end), pixel)


def hd95(prediction: Mask, truth: Mask, pixel: tuple[float, float] = (1.0, 1.0)) -> float:
    """Compute the 95th percentile Hausdorff distance: the larger of the two directed 95th percentiles.

    Args:
        prediction: bool (H, W).
        truth: bool (H, W).
        pixel: (height, width) of a pixel, such as in mm; the distance has its unit.

    Returns:
        Distance, in pixels by default; 0 if both masks are empty, the image diagonal if one is (the rules of `counts.py`).

    Raises:
        ValueError: the masks are not bool (H, W) of one shape.

    Source: section A.5 (HD95); percentiles interpolate linearly.
    """
    if prediction.ndim != 2 or prediction.shape != truth.shape or prediction.dtype != bool or truth.dtype != bool:
        raise ValueError(
            f"expected two bool masks (H, W) of one shape, but got {prediction.dtype} {prediction.shape} and "
            f"{truth.dtype} {truth.shape}"
        )
    if not (prediction.any() or truth.any()):
        return 0.0
    if not (prediction.any() and truth.any()):
        return math.hypot(truth.shape[0] * pixel[0], truth.shape[1] * pixel[1])
    x, y, width, height = cv2.boundingRect((prediction | truth).view(np.uint8))  # holds both outlines; a smaller array is faster
    a, b = (outline(mask[y : y + height, x : x + width]) for mask in (prediction, truth))
    sides = sorted((_Side(*pair, pixel) for pair in ((a, b), (b, a))), key=lambda side: side.bound, reverse=True)
    distance = sides[0].percentile()
    return distance if sides[1].bound <= distance else max(distance, sides[1].percentile())


class _Side:
    """The distances of the pixels of one outline to the nearest of another, of which only those near the percentile are computed.

    The number of steps between neighbouring pixels, the city-block distance, bounds the distance on both sides, and OpenCV
    computes it in a sixth of the time of an exact distance transform.
    """

    def __init__(self, start: Mask, end: Mask, pixel: tuple[float, float]) -> None:
        """Count the steps.

        Args:
            start: outline whose distances are asked for.
            end: outline that they lead to.
            pixel: (height, width) of a pixel.
        """
        self._start, self._end, self._pixel = start, end, pixel
        self._steps = _count_steps(end)[start]
        position = SHARE * (len(self._steps) - 1)
        self._rank = int(position)
        self._weight = position - self._rank
        self._low, self._high = self._ranked(self._steps, self._rank)

    @property
    def bound(self) -> float:
        """No percentile is larger."""
        return max(self._pixel) * self._high

    def percentile(self) -> float:
        """Compute the percentile as `np.percentile` does."""
        if self._high == 0 or (self._high == 1 and self._pixel[0] == self._pixel[1]):  # a single step is a distance
            low, high = self._pixel[0] * self._low, self._pixel[0] * self._high
        else:
            least, most = min(self._pixel) / DIAGONAL, max(self._pixel)  # length of a step
            nearer = self._steps * most < self._low * least
            unsure = ~nearer & (self._steps * least <= self._high * most)
            distances = _nearest(np.flatnonzero(self._start)[unsure], self._end, self._pixel)
            low, high = self._ranked(distances, self._rank - int(nearer.sum()))
        step = high - low
        return high - step * (1 - self._weight) if self._weight >= 0.5 else low + step * self._weight

    def _ranked(self, values: NDArray[Any], rank: int) -> tuple[float, float]:
        """Return the value of a rank, counted from 0, and of the next, if there is one."""
        after = rank + (self._rank + 1 < len(self._steps))
        ordered = np.partition(values, (rank, after))
        return float(ordered[rank]), float(ordered[after])


def _count_steps(outline: Mask) -> NDArray[Any]:
    """Return the city-block distance of each pixel to an outline, in whole numbers."""
    if sum(outline.shape) > COUNTED:
        return ndimage.distance_transform_cdt(~outline, "taxicab")  # type: ignore[no-any-return]
    return cv2.distanceTransform((~outline).view(np.uint8), cv2.DIST_L1, 3)


def _nearest(positions: NDArray[np.int64], end: Mask, pixel: tuple[float, float]) -> NDArray[np.float64]:
    """Return the distance of each position in the flattened image to the nearest pixel of an outline."""
    start, target = (np.stack(np.divmod(flat, end.shape[1]), axis=1) * pixel for flat in (positions, np.flatnonzero(end)))
    distances: NDArray[np.float64] = KDTree(target, compact_nodes=False, balanced_tree=False).query(start)[0]
    return distances
