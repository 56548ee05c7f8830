"""Distances between the outlines of two binary masks, in pixels or mm."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def outline(mask: Mask) -> Mask:
    """Return the pixels of a mask (H, W) that share an edge with the outside; the image border counts as outside."""
    inside: Mask = ndimage.binary_erosion(mask)
    return mask & ~inside


def surface_distances(start: Mask, end: Mask, pixel: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
    """Return the distance of each outline pixel of one non-empty mask (H, W) to the nearest of another, in units of `pixel`."""
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~outline(end), sampling=pixel)
    return distance[outline(start)]


def hd95(prediction: Mask, truth: Mask, pixel: tuple[float, float] = (1.0, 1.0)) -> float:
    """Compute the 95th percentile Hausdorff distance: the larger of the two directed 95th percentiles.

    Args:
        prediction: bool (H, W).
        truth: bool (H, W).
        pixel: (height, width) of a pixel, such as in mm; the distance has its unit.

    Returns:
        Distance, in pixels by default; 0 if both masks are empty, the image diagonal if one is (the rules of `overlap.py`).

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
    box = ndimage.find_objects((prediction | truth).astype(np.uint8))[0]  # contains both outlines; a smaller array is faster
    a, b = prediction[box], truth[box]
    return float(max(np.percentile(surface_distances(*pair, pixel), 95) for pair in ((a, b), (b, a))))
