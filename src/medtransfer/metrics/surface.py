"""Distances between the outlines of two binary masks, in pixels."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def outline(mask: Mask) -> Mask:
    """Return the pixels of a mask (H, W) that share an edge with the outside; the image border counts as outside."""
    inside: Mask = ndimage.binary_erosion(mask)
    return mask & ~inside


def surface_distances(start: Mask, end: Mask) -> NDArray[np.float64]:
    """Return the distance, in pixels, of each outline pixel of one non-empty mask (H, W) to the nearest of another."""
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~outline(end))
    return distance[outline(start)]


def hd95(prediction: Mask, truth: Mask) -> float:
    """Compute the 95th percentile Hausdorff distance: the larger of the two directed 95th percentiles.

    Args:
        prediction: bool (H, W).
        truth: bool (H, W).

    Returns:
        Distance in pixels; 0 if both masks are empty, the image diagonal if one is (the rules of `overlap.py`).

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
        return math.hypot(*truth.shape)
    box = ndimage.find_objects((prediction | truth).astype(np.uint8))[0]  # contains both outlines; a smaller array is faster
    a, b = prediction[box], truth[box]
    return float(max(np.percentile(surface_distances(a, b), 95), np.percentile(surface_distances(b, a), 95)))
