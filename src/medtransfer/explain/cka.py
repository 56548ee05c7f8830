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

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, Eq. 3; HSIC as by Song et al.,
    Feature Selection via Dependence Maximization, JMLR 13, 2012, Eq. 5, here as a product of U-centred matrices (Székely and
    Rizzo, Partial Distance Correlation, Annals of Statistics 42, 2014), which bounds the ratio.
    """
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ValueError(f"expected features (N, D) and (N, E) of the same samples, but got {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("expected finite features, but some are not finite")
    if len(first) < LEAST_SAMPLES or any((features == features[0]).all() for features in (first, second)):
        return float("nan")
    a, b = _u_centred(first), _u_centred(second)  # (N, N)
    norms = np.sqrt(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b) / norms) if norms else float("nan")


def _u_centred(features: Numbers) -> Numbers:
    """Return the linear kernel (N, N) without its diagonal, and without what each sample has with all others."""
    centred = features - features.mean(axis=0)  # changes nothing but rounding
    centred /= np.linalg.norm(centred)
    kernel = centred @ centred.T
    np.fill_diagonal(kernel, 0)
    n = len(kernel)
    rows = kernel.sum(axis=1)
    kernel -= (rows[:, None] + rows) / (n - 2) - rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(kernel, 0)
    return kernel
