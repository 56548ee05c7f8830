"""Ridge probe: Dice, or AUC for labels of images, of a linear model of embeddings for patients that it was not fitted to."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from scipy import linalg

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted, one_hot
from medtransfer.indicators.probes import LeftOut, mean_auc, probe
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels

PENALTY = 0.01  # as a share of the mean eigenvalue of X'X
BLOCKS = 20  # patients are left out in at most so many blocks


def ridge_left_out(features: Numbers, labels: Labels, groups: Labels) -> LeftOut:
    """Predict one-hot labels by ridge regression with a free intercept, fitted without the group of the sample.

    One fit to all samples gives those to all others: the residual of a group b that is left out is
    inv(I - H_bb) (Y - H Y)_b with the hat matrix H = X inv(X'X + t I) X' + 1/N, X centred. The penalty t is of all samples,
    so that it is the same in all fits.

    Args:
        features: finite (N, D).
        labels: (N,), whole numbers.
        groups: (N,), whole numbers, at least two different ones.

    Returns:
        The predictions (N, C), and flags: `constant` (all embeddings are equal: each class has its share in other groups).

    Raises:
        ValueError: the shapes do not fit, there is one group only or no sample, or a feature is not finite.

    Source: the block form of the leave-one-out residual; Cook and Weisberg, Residuals and Influence in Regression, 1982.
    """
    check_labelled(features, labels, groups)
    if len(np.unique(groups)) < 2:
        raise ValueError(f"expected at least 2 groups, but got 1 for {len(groups)} samples; a probe predicts one from the others")
    moved, y = centred(features), one_hot(labels)
    penalty = PENALTY * float(np.square(moved).sum()) / moved.shape[1]
    block, residuals = _fit_to_all(moved, y, penalty or 1.0)
    residuals -= y.mean(axis=0)
    scores = np.empty_like(y)
    for group in np.unique(groups):
        of = np.flatnonzero(groups == group)
        scores[of] = y[of] - linalg.solve(block(of) - 1 / len(y), residuals[of], assume_a="pos", lower=True)  # I - H_bb
    return LeftOut(scores, counted(constant=penalty == 0))


def _fit_to_all(moved: Numbers, y: Numbers, penalty: float) -> tuple[Callable[[Labels], Numbers], Numbers]:
    """Return the blocks of M = I - X inv(X'X + penalty I) X' by their rows, lower triangles, and M Y, from the smaller system."""
    n, d = moved.shape
    if n > d:
        factor = linalg.cholesky(moved.T @ moved + penalty * np.eye(d), lower=True)
        halves = linalg.solve_triangular(factor, moved.T, lower=True).T  # (N, D), H = halves halves'
        return (lambda of: np.eye(len(of)) - halves[of] @ halves[of].T), y - halves @ (halves.T @ y)
    factor = linalg.cholesky(moved @ moved.T + penalty * np.eye(n), lower=True)  # M = penalty inv(XX' + penalty I)
    inverse, _ = linalg.lapack.dpotri(factor, lower=1)
    return (lambda of: penalty * inverse[np.ix_(of, of)]), penalty * linalg.cho_solve((factor, True), y)


class Ridge(LabelledIndicator):
    """Dice of the ridge probe on the labelled pixels, or its AUC on the labelled images, patients left out."""

    name: ClassVar[str] = "ridge"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute the mean Dice of the foreground classes, or the mean AUC of the classes of images."""
        return probe(ridge_left_out, mean_auc, sample, context, BLOCKS)
