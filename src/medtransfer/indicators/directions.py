"""Directions of embeddings on the unit sphere, and whether all of them are one."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
COLLAPSED = 1e-5  # largest distance to the mean direction that float32 features of a constant encoder may show


def require_samples(features: Numbers, name: str = "features") -> None:
    """Refuse what is not a sample of embeddings.

    Args:
        features: to check, finite (N, D).
        name: what they are, for the message.

    Raises:
        ValueError: they are not two-dimensional, empty, or not finite.
    """
    if features.ndim != 2 or features.size == 0 or not np.isfinite(features).all():
        broken = int((~np.isfinite(features)).sum())
        raise ValueError(
            f"expected finite {name} (N, D) of at least one sample, but got {features.shape}, {broken} numbers not finite"
        )


def directions(features: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
    """Scale embeddings to norm 1; zero vectors have no direction and stay zero.

    Args:
        features: finite (N, D).

    Returns:
        The directions (N, D), and which embeddings have one, bool (N,).
    """
    norms = np.linalg.norm(features, axis=1)
    return features / np.where(norms > 0, norms, 1)[:, None], norms > 0


def is_collapsed(units: Numbers) -> bool:
    """Return whether unit vectors (M, D) point in one direction, up to rounding; no vectors do."""
    if not len(units):
        return True
    mean = units.mean(axis=0)
    squares = 1 - 2 * (units @ mean) + mean @ mean  # (M,), squared distances to the mean, within 1e-15
    return bool(squares.max() <= COLLAPSED**2)
