"""Robustness from distances (Eq. 3).

Robustness is 1 - mean_i max(0, d_pos_i - d_neg_i + margin). With the cosine or Pearson distance it is in
[1 - (2 + margin), 1]; an encoder that maps every image to one vector gets 1 - margin; perfect separation gives 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtransfer.modes import MODES

AT_ONCE = 2**24  # numbers of draws times images that are multiplied at a time: 128 MB
POOLED = {  # whether features are pooled, by rule and mode of transfer; `frozen` is the paper's rule, section 6
    "frozen": {name: mode.encoder_frozen for name, mode in MODES.items()},
    "always": dict.fromkeys(MODES, True),
    "never": dict.fromkeys(MODES, False),
}


def robustness(
    d_pos: ArrayLike, d_neg: ArrayLike, margins: Sequence[float], groups: ArrayLike | None = None
) -> tuple[list[float], list[float]]:
    """Compute the robustness of an encoder at several margins from one set of distances.

    Args:
        d_pos: distances between the two views of an image, (N,) or (R, N) for R repeats of the views.
        d_neg: distances between an image and its negative, of the same shape.
        margins: values of the paper's epsilon, >= 0.
        groups: group of each image, (N,), such as its patient; None where every image is on its own.

    Returns:
        By margin: 1 - mean triplet loss, and its standard error over groups, NaN for a single one. Slices of one patient and
        windows of one eye are alike, so that an error over images would be too small.

    Raises:
        ValueError: the shapes differ or are empty, a distance is not finite, or a margin is negative.

    Source: Eq. 3.
    """
    losses = _losses(d_pos, d_neg, margins)  # (M, N)
    return (1.0 - losses.mean(axis=1)).tolist(), standard_errors(losses, groups).tolist()


def standard_error(values: NDArray[np.float64], groups: ArrayLike | None = None) -> float:
    """Return the standard error of the mean of values (N,) over groups; NaN for a single group."""
    return float(standard_errors(values[None], groups)[0])


def standard_errors(values: NDArray[np.float64], groups: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the `standard_error` of every row of values (M, N), (M,)."""
    sums = _sums(values, groups)  # (M, G)
    count = sums.shape[1]
    return np.sqrt(np.vecdot(sums, sums) * count / (count - 1)) / values.shape[1] if count > 1 else np.full(len(values), np.nan)


def without_each_group(values: NDArray[np.float64], groups: ArrayLike) -> NDArray[np.float64]:
    """Return the mean of values (N,) without each of the G groups, (G,); empty for a single group.

    It is exact for groups of one size. For others it is the linear approximation whose jackknife error is `standard_error`.
    """
    sums = _sums(values[None], groups)[0]
    count = len(sums)
    return values.mean() - sums * count / ((count - 1) * len(values)) if count > 1 else np.empty(0)


def _sums(values: NDArray[np.float64], groups: ArrayLike | None) -> NDArray[np.float64]:
    """Return the deviations from the mean of each row (M, N), summed over each group, (M, G); groups are in ascending order."""
    deviations = values - values.mean(axis=1, keepdims=True)
    if groups is None:
        return deviations
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    cell = len(names) * np.arange(len(values))[:, None] + member  # (M, N)
    sums = np.bincount(cell.ravel(), weights=deviations.ravel()).reshape(len(values), len(names))
    return sums.astype(np.float64, copy=False)


def triplet_losses(d_pos: ArrayLike, d_neg: ArrayLike, margin: float) -> NDArray[np.float64]:
    """Compute the triplet loss of each image at one margin, (N,), its repeats averaged; arguments and errors as in `robustness`."""
    return _losses(d_pos, d_neg, [margin])[0]


def _losses(d_pos: ArrayLike, d_neg: ArrayLike, margins: Sequence[float]) -> NDArray[np.float64]:
    gap = _gap(d_pos, d_neg)  # (R, N)
    epsilon = np.asarray(margins, dtype=np.float64)
    if epsilon.ndim != 1 or not np.all(np.isfinite(epsilon)) or np.any(epsilon < 0):
        raise ValueError(f"expected finite margins >= 0, but got {margins}")
    loss = gap + epsilon[:, None, None]  # (M, R, N)
    np.maximum(loss, 0.0, out=loss)
    return loss.mean(axis=1) if len(gap) > 1 else loss[:, 0]  # (M, N)


def _gap(d_pos: ArrayLike, d_neg: ArrayLike) -> NDArray[np.float64]:
    pos, neg = np.asarray(d_pos, dtype=np.float64), np.asarray(d_neg, dtype=np.float64)
    if pos.shape != neg.shape or pos.ndim not in (1, 2) or pos.size == 0:
        raise ValueError(f"expected distances (N,) or (R, N) of one shape, but got {pos.shape} and {neg.shape}")
    if not (np.all(np.isfinite(pos)) and np.all(np.isfinite(neg))):
        raise ValueError("expected finite distances, but got NaN or infinity; pair_distances defines them")
    return np.atleast_2d(pos - neg)


class SortedGaps:
    """Sorted gaps d_pos - d_neg of a checkpoint's images and their suffix sums: each margin takes one binary search."""

    def __init__(self, d_pos: ArrayLike, d_neg: ArrayLike) -> None:
        """Sort the gaps of distances (N,) or (R, N)."""
        self.gaps = np.sort(_gap(d_pos, d_neg).ravel())  # (R * N,)
        self.sums = np.append(np.cumsum(self.gaps[::-1])[::-1], 0.0)  # sums[i] = gaps[i] + gaps[i + 1] + ...

    def robustness(self, margins: ArrayLike) -> Any:
        """Compute the robustness at one margin or at margins (M,): only the gaps above -margin have a loss.

        Source: Eq. 3.
        """
        epsilon = np.asarray(margins, dtype=np.float64)
        first = self.gaps.searchsorted(-epsilon, side="right")
        total = len(self.gaps)
        return 1.0 - (self.sums[first] + epsilon * (total - first)) / total


def bootstrap_robustness(losses: NDArray[np.float64], taken: NDArray[Any], images: NDArray[Any]) -> NDArray[np.float64]:
    """Draw the robustness of several checkpoints, the same images for all of them.

    Args:
        losses: `triplet_losses` of each image, (E, N).
        taken: how often each image is taken in each draw, (draws, N).
        images: number of images of each draw, the sums of `taken`, (draws, 1); they differ with groups of unequal sizes.

    Returns:
        (draws, E).
    """
    size = max(1, AT_ONCE // losses.shape[1])  # draws
    blocks = [taken[first : first + size].astype(np.float64) @ losses.T for first in range(0, len(taken), size)]
    return 1.0 - np.concatenate(blocks) / images
