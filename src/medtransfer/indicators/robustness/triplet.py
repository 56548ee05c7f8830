"""Robustness from distances (Eq. 3).

Robustness is 1 - mean_i max(0, d_pos_i - d_neg_i + margin). With the cosine or Pearson distance it is in
[1 - (2 + margin), 1]; an encoder that maps every image to one vector gets 1 - margin; perfect separation gives 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtransfer.modes import MODES

POOLED = {  # whether features are pooled, by rule and mode of transfer; `frozen` is the paper's rule, section 6
    "frozen": {name: mode.encoder_frozen for name, mode in MODES.items()},
    "always": dict.fromkeys(MODES, True),
    "never": dict.fromkeys(MODES, False),
}


@dataclass(frozen=True)
class RobustnessValue:
    """Robustness and its standard error over images (NaN for a single image)."""

    value: float
    standard_error: float


def robustness(d_pos: ArrayLike, d_neg: ArrayLike, margin: float) -> RobustnessValue:
    """Compute the robustness of an encoder at one margin.

    Args:
        d_pos: distances between the two views of an image, (N,) or (R, N) for R repeats of the views.
        d_neg: distances between an image and its negative, of the same shape.
        margin: the paper's epsilon, >= 0.

    Returns:
        1 - mean triplet loss; its standard error is std(ddof 1) / sqrt(N) over images, each image's repeats averaged.

    Raises:
        ValueError: the shapes differ or are empty, a distance is not finite, or the margin is negative.

    Source: Eq. 3.
    """
    return robustness_curve(d_pos, d_neg, [margin])[0]


def robustness_curve(d_pos: ArrayLike, d_neg: ArrayLike, margins: Sequence[float]) -> list[RobustnessValue]:
    """Compute the robustness at several margins from one set of distances; arguments and errors as in `robustness`."""
    return [RobustnessValue(value, error) for value, error in zip(*robustness_arrays(d_pos, d_neg, margins), strict=True)]


def robustness_arrays(d_pos: ArrayLike, d_neg: ArrayLike, margins: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the values and the standard errors of `robustness_curve`."""
    loss = _losses(d_pos, d_neg, margins)  # (M, N)
    n = loss.shape[1]
    means = loss.mean(axis=1)
    loss -= means[:, None]
    errors = np.sqrt(np.vecdot(loss, loss) / (n - 1) / n) if n > 1 else np.full(len(loss), np.nan)
    return (1.0 - means).tolist(), errors.tolist()


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


def bootstrap_robustness(losses: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw the robustness of several checkpoints, the same images for all of them.

    Args:
        losses: `triplet_losses` of each image, (E, N).
        taken: how often each image is taken in each draw, (draws, N).

    Returns:
        (draws, E).
    """
    return 1.0 - taken @ losses.T / losses.shape[1]
