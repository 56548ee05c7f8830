"""SFDA: the posterior of the true class in a regularised discriminant analysis, after hard samples were made harder."""

from typing import ClassVar

import numpy as np
from scipy import linalg, special

from medtransfer.indicators.contract import Context
from medtransfer.indicators.discriminant import class_means, posterior, shrink, within_covariance
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels

STEEPNESS = 5.0  # of the shrinkage exp(-STEEPNESS * largest eigenvalue)
LEAST = 1e-10  # shrinkage
SATURATED = 1e-9  # distance from 1


def sfda(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute the mean posterior of the true class.

    The covariance within classes W (ddof 0) is shrunk to (1 - s) W + s tr(W)/D I, s = exp(-5 largest eigenvalue of W). A
    sample of class y is then moved to q x + (1 - q) m, with q the share of y in the softmax of its posterior and m the mean of
    the other classes' means, and the analysis is repeated with the same s.

    Args:
        features: finite (N, D); their scale matters.
        labels: (N,), whole numbers.

    Returns:
        The score in [0, 1], NaN for fewer than two classes, and flags: `saturated` (1 but for rounding) and `constant` (all
        embeddings are equal: the mean share of a sample's class).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Shao et al., Not All Models Are Equal: Predicting Model Transferability in a Self-challenging Fisher Space,
    ECCV 2022.
    """
    check_labelled(features, labels)
    y, moved = one_hot(labels), centred(features)
    if y.shape[1] < 2:
        return float("nan"), {}
    if not moved.any():
        return float(np.square(y.mean(axis=0)).sum()), {"constant": 1}
    within = within_covariance(moved, y)
    last = len(within) - 1
    largest = linalg.eigh(within, eigvals_only=True, subset_by_index=[last, last])[0]
    shrinkage = max(float(np.exp(-STEEPNESS * largest)), LEAST)
    kept = (special.softmax(posterior(moved, y, shrink(within, shrinkage)), axis=1) * y).sum(axis=1, keepdims=True)  # q, (N, 1)
    means = class_means(moved, y)
    others = (means.sum(axis=0) - means) / (len(means) - 1)  # (C, D)
    harder = kept * moved + (1 - kept) * (y @ others)
    value = float((posterior(harder, y, shrink(within_covariance(harder, y), shrinkage)) * y).sum(axis=1).mean())
    return value, counted(saturated=1 - value < SATURATED)


class SFDA(LabelledIndicator):
    """SFDA of the labelled pixels or images."""

    name: ClassVar[str] = "sfda"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute SFDA of the sample."""
        return sfda(sample.features, sample.labels)
