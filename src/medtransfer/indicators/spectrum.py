"""RankMe, NESum and participation ratio: how many directions the spread of pixel embeddings fills."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Context
from medtransfer.indicators.directions import require_samples
from medtransfer.indicators.samples.pixels import Embeddings
from medtransfer.indicators.unlabelled import PixelIndicator

Numbers = NDArray[np.float64]


def spectrum(features: Numbers, centre: bool = True) -> tuple[Numbers, dict[str, int]]:
    """Compute the squared singular values of features that are not zero, up to rounding.

    Args:
        features: finite (N, D).
        centre: whether to subtract the mean first; then they are N times the eigenvalues of the covariance.

    Returns:
        The squares, descending, and flags: `rank_deficit` (D minus their number: at least D - N + 1 if centred) and `constant`
        (all samples are equal).

    Raises:
        ValueError: the features are no sample.
    """
    require_samples(features)
    shifted = features - features[0]  # exactly zero if constant
    constant = not shifted.any()
    values = shifted - shifted.mean(axis=0) if centre else features
    squares = gram_eigenvalues(values)
    flags = {"rank_deficit": features.shape[1] - len(squares), "constant": int(constant)}
    return squares, {name: number for name, number in flags.items() if number}


def gram_eigenvalues(values: Numbers) -> Numbers:
    """Return the eigenvalues of X'X, or XX', that are not zero up to rounding, descending, of X (N, D).

    The smaller of the two is decomposed, which is several times as fast as a singular value decomposition of X. It has no
    digits of singular values below sqrt(1e-16 max(N, D)) of the largest; float32 features have none below 1e-7.
    """
    n, d = values.shape
    squares = np.linalg.eigvalsh(values.T @ values if d <= n else values @ values.T)[::-1]
    return squares[squares > squares[0] * max(n, d) * np.finfo(np.float64).eps]


def effective_rank(weights: Numbers) -> float:
    """Return the exponential of the entropy of positive weights as shares of their sum; NaN if there are none.

    Source: Roy and Vetterli, The Effective Rank, EUSIPCO 2007.
    """
    if not len(weights):
        return np.nan
    shares = weights / weights.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def rankme(features: Numbers, centre: bool) -> tuple[float, dict[str, int]]:
    """Compute the effective rank of the singular values of features.

    Args:
        features: finite (N, D), N well above D.
        centre: whether to subtract the mean first; the published score does not, and an offset of all features hides the rest.

    Returns:
        The value, from 1 to min(N, D), NaN of no spread; and the flags of `spectrum`.

    Raises:
        ValueError: the features are no sample.

    Source: Garrido et al., RankMe, ICML 2023, Eq. 1, without its 1e-7.
    """
    squares, flags = spectrum(features, centre)
    return effective_rank(np.sqrt(squares)), flags


def nesum(features: Numbers) -> tuple[float, dict[str, int]]:
    """Compute the sum of the eigenvalues of the covariance over the largest one.

    Args and Raises: as of `spectrum`.

    Returns:
        The value, from 1 to min(N - 1, D), NaN of no spread; and the flags of `spectrum`.

    Source: He and Ozay, Exploring the Gap between Collapsed and Whitened Features in Self-Supervised Learning, ICML 2022.
    """
    squares, flags = spectrum(features)
    return float(squares.sum() / squares[0]) if len(squares) else np.nan, flags


def participation_ratio(features: Numbers) -> tuple[float, dict[str, int]]:
    """Compute the squared sum of the eigenvalues of the covariance over the sum of their squares.

    Args and Raises: as of `spectrum`.

    Returns:
        The value, from 1 to min(N - 1, D) and low by about its square over N, NaN of no spread; and the flags of `spectrum`.

    Source: Gao et al., A Theory of Multineuronal Dimensionality, Dynamics and Measurement, bioRxiv 214262, 2017.
    """
    squares, flags = spectrum(features)
    return float(squares.sum() ** 2 / np.square(squares).sum()) if len(squares) else np.nan, flags


class RankMe(PixelIndicator):
    """RankMe of centred pixel embeddings."""

    name: ClassVar[str] = "rankme"
    within_width: ClassVar[bool] = True

    def measure(self, sample: Embeddings, context: Context) -> tuple[float, dict[str, int]]:
        """Compute RankMe."""
        return rankme(sample.features, centre=True)


class NESum(PixelIndicator):
    """NESum of pixel embeddings."""

    name: ClassVar[str] = "nesum"
    within_width: ClassVar[bool] = True

    def measure(self, sample: Embeddings, context: Context) -> tuple[float, dict[str, int]]:
        """Compute NESum."""
        return nesum(sample.features)


class ParticipationRatio(PixelIndicator):
    """Participation ratio of pixel embeddings."""

    name: ClassVar[str] = "pr"
    within_width: ClassVar[bool] = True

    def measure(self, sample: Embeddings, context: Context) -> tuple[float, dict[str, int]]:
        """Compute the participation ratio."""
        return participation_ratio(sample.features)
