"""Alignment: how close the pooled embeddings of two views of an image are on the unit sphere."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Context
from medtransfer.indicators.directions import directions, is_collapsed, require_samples
from medtransfer.indicators.samples.view_pairs import Views
from medtransfer.indicators.unlabelled import ViewIndicator


def alignment(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, dict[str, int]]:
    """Compute minus the mean squared distance between the directions of two views, -mean ||u - u+||^2.

    Features that hardly differ between images are aligned, too, so read it beside uniformity.

    Args:
        first: first view of each image, finite (N, D).
        second: second view of the same images, finite (N, D).

    Returns:
        The value, from -4 to 0; NaN if no pair has directions, or if the directions of all views are one: a constant encoder
        would be best. And flags: `zero_vectors` (pairs that are left out, since a view has no direction) and `constant`.

    Raises:
        ValueError: the views are no samples, or their shapes differ.

    Source: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, ICML 2020, exponent 2, with the opposite sign.
    """
    require_samples(first, "first views")
    require_samples(second, "second views")
    if first.shape != second.shape:
        raise ValueError(f"expected two views of the same shape, but got {first.shape} and {second.shape}")
    (units, known), (positives, positive_known) = directions(first), directions(second)
    both = known & positive_known
    constant = is_collapsed(np.concatenate([units[both], positives[both]]))
    flags = {"zero_vectors": int((~both).sum()), "constant": int(constant)}
    value = np.nan if constant else -float(np.square(units - positives).sum(axis=1)[both].mean())
    return value, {name: number for name, number in flags.items() if number}


class Alignment(ViewIndicator):
    """Alignment of the pairs of views of images, averaged over images and repeats."""

    name: ClassVar[str] = "alignment"

    def measure(self, sample: Views, context: Context) -> tuple[float, dict[str, int]]:
        """Compute the alignment of all pairs."""
        first, second = sample.features[:, ::2], sample.features[:, 1::2]  # (N, repeats, D)
        return alignment(first.reshape(-1, first.shape[2]), second.reshape(-1, second.shape[2]))
