"""H-score: the share of the variance of embeddings that lies between classes, summed over whitened directions."""

from typing import ClassVar

import numpy as np
from scipy import linalg

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels

RCOND = 1e-15  # smallest eigenvalue of the covariance that counts, as a share of the largest
NOISE = 1e-14  # smallest noise, as a share of the covariance's square, that is more than rounding


def hscore(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute tr(pinv(cov f) cov(E[f | y])).

    With f = U S V' after centring it is the sum over classes of n_c |mean of the class's rows of U|^2, so it is at most
    C - 1, and reaches that whatever the labels where the rank is N - 1.

    Args:
        features: f, finite (N, D).
        labels: (N,), whole numbers.

    Returns:
        The score in [0, C - 1], NaN for fewer than two classes, and flags: `saturated` (the rank is N - 1, so that the score
        says nothing) and `constant` (all embeddings are equal).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Bao et al., An Information-Theoretic Approach to Transferability in Task Transfer Learning, ICIP 2019.
    """
    check_labelled(features, labels)
    members = one_hot(labels)
    if members.shape[1] < 2:
        return float("nan"), {}
    left, singular, _ = linalg.svd(centred(features), full_matrices=False)
    rank = int((singular > singular[0] * np.sqrt(RCOND)).sum())
    sums = members.T @ left[:, :rank]  # (C, rank)
    flags = counted(saturated=rank == len(labels) - 1, constant=rank == 0)
    return float((np.square(sums).sum(axis=1) / members.sum(axis=0)).sum()), flags


def hscore_reg(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute (1 - a) tr(inv(cov_a f) cov(E[f | y])) with the covariance shrunk by the share a towards a multiple of I.

    Args:
        features: f, finite (N, D).
        labels: (N,), whole numbers.

    Returns:
        The score, NaN for fewer than two classes, and flags: `constant` (all embeddings are equal; the score is 0) and
        `fully_shrunk` (a = 1: the covariance is that of noise; the score is 0).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Ibrahim, Ponomareva, Mazumder, Newer is not always better: Rethinking transferability metrics, their
    peculiarities, stability and performance, ECML PKDD 2022.
    """
    check_labelled(features, labels)
    members, moved = one_hot(labels), centred(features)
    if members.shape[1] < 2:
        return float("nan"), {}
    n, d = moved.shape
    gram = moved @ moved.T if n <= d else moved.T @ moved
    variance, share = _shrinkage(moved, gram)
    if variance == 0 or share == 1:
        return 0.0, counted(constant=variance == 0, fully_shrunk=variance > 0)
    if share == 0:  # nothing is added to eigenvalues that are zero
        plain, flags = hscore(features, labels)
        return plain * n / (n - 1), flags  # the shrunk covariance divides by N
    weights = members / members.sum(axis=0)  # (N, C)
    sides = gram @ weights if n <= d else moved.T @ weights  # (N or D, C)
    shrunk = (1 - share) / n * gram
    shrunk[np.diag_indices_from(shrunk)] += share * variance
    # with N <= D, inv(a X'X + b I) X' = X' inv(a XX' + b I)
    whitened = linalg.solve(shrunk, weights if n <= d else sides, assume_a="pos")
    between = (sides * whitened).sum(axis=0) @ members.sum(axis=0)
    return float((1 - share) * between / (n - 1)), {}


def _shrinkage(moved: Numbers, gram: Numbers) -> tuple[float, float]:
    """Return the mean variance, and the share of it that replaces the covariance.

    The squared norm of the covariance, and thus all of this, is the same from X'X and from XX'.

    Source: Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, Journal of Multivariate
    Analysis 2004, Lemma 3.3.
    """
    n, d = moved.shape
    total = np.trace(gram) / n
    square = float(np.square(gram).sum()) / n**2
    distance = square - total**2 / d  # of the covariance from the multiple of I
    noise = (float(np.square(np.square(moved).sum(axis=1)).sum()) / n - square) / n
    if d == 1 or noise <= NOISE * square:
        return total / d, 0.0
    return total / d, float(np.clip(noise / distance, 0, 1)) if distance > 0 else 1.0


class HScore(LabelledIndicator):
    """Plain H-score of the labelled pixels or images."""

    name: ClassVar[str] = "hscore"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute the H-score of the sample."""
        return hscore(sample.features, sample.labels)


class RegularisedHScore(LabelledIndicator):
    """H-score of the labelled pixels or images with a shrunk covariance."""

    name: ClassVar[str] = "hscore_reg"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute the regularised H-score of the sample."""
        return hscore_reg(sample.features, sample.labels)
