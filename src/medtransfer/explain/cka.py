"""Linear CKA: how alike two encoders arrange the same pixels or images."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
LEAST_SAMPLES = 4  # below, the unbiased estimate does not exist


def linear_cka(first: Numbers, second: Numbers) -> float:
    """Compute the linear centred kernel alignment with the unbiased estimate of HSIC.

    The plain estimate is high for unrelated features once they are wider than the sample is large; this one is about 0.

    Args:
        first: features of N samples, finite (N, D).
        second: features of the same samples, finite (N, E); E may differ from D.

    Returns:
        A value in [-1, 1]: 1 if the features are equal up to rotation, scale and offset, about 0 if they are unrelated; NaN of
        fewer than LEAST_SAMPLES samples, and if those of one side are all equal.

    Raises:
        ValueError: the shapes do not fit, or a feature is not finite.

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, with the unbiased HSIC of Song et
    al., Feature Selection via Dependence Maximization, JMLR 13, 2012. It is a product of U-centred kernels (Székely and Rizzo,
    Partial Distance Correlation, Annals of Statistics 42, 2014), so the ratio is bounded.
    """
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ValueError(f"expected features (N, D) and (N, E) of the same samples, but got {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("expected finite features, but some are not finite")
    if len(first) < LEAST_SAMPLES or any((features == features[0]).all() for features in (first, second)):
        return float("nan")
    x, y = _centred(first), _centred(second)
    squares = _hsic(x, x) * _hsic(y, y)
    return float(_hsic(x, y) / np.sqrt(squares)) if squares > 0 else float("nan")


def _centred(features: Numbers) -> Numbers:
    centred = features - features.mean(axis=0)
    return np.asarray(centred / np.linalg.norm(centred))


def _hsic(x: Numbers, y: Numbers) -> float:
    """Return n (n - 3) times the unbiased HSIC of centred features, from products of features instead of kernels (N, N).

    Without its diagonal, the kernel of centred features has minus this diagonal as row sums.
    """
    n = len(x)
    own, other = (x**2).sum(axis=1), (y**2).sum(axis=1)
    return float(((x.T @ y) ** 2).sum() - n / (n - 2) * (own @ other) + own.sum() * other.sum() / ((n - 1) * (n - 2)))
