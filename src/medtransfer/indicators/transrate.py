"""TransRate: how many bits fewer embeddings cost once their classes are known."""

from typing import ClassVar

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels

DISTORTION = 1e-4


def transrate(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute R(Z) - mean over classes of R(Z_c), R(Z) = 1/2 ln det(I + Z'Z / (n DISTORTION)), Z centred over all classes.

    Args:
        features: finite (N, D); their scale matters.
        labels: (N,), whole numbers.

    Returns:
        The score in nats, NaN for fewer than two classes, and flags: `constant` (all embeddings are equal; the score is 0).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Huang et al., Frustratingly Easy Transferability Estimation, ICML 2022.
    """
    check_labelled(features, labels)
    classes, moved = np.unique(labels), centred(features)
    if len(classes) < 2:
        return float("nan"), {}
    rates = [_rate(moved[labels == label]) for label in classes]
    return _rate(moved) - float(np.mean(rates)), counted(constant=not moved.any())


def _rate(rows: Numbers) -> float:
    n, d = rows.shape
    gram = rows @ rows.T if n < d else rows.T @ rows  # the eigenvalues are the same but for zeros
    eigenvalues = np.linalg.eigvalsh(gram)
    eigenvalues[eigenvalues < len(gram) * np.finfo(np.float64).eps * eigenvalues[-1]] = 0.0  # rounding
    return float(np.log1p(np.maximum(eigenvalues, 0) / (n * DISTORTION)).sum()) / 2


class TransRate(LabelledIndicator):
    """TransRate of the labelled pixels or images."""

    name: ClassVar[str] = "transrate"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute TransRate of the sample."""
        return transrate(sample.features, sample.labels)
