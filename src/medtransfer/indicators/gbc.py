"""GBC: minus the overlap of classes, each taken as a Gaussian."""

from typing import ClassVar

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels

FLOOR = 1e-4  # smallest variance


def gbc(features: Numbers, labels: Labels, diagonal: bool = False) -> tuple[float, Flags]:
    """Compute minus the sum over ordered pairs of classes of exp(-B), B the Bhattacharyya distance of their Gaussians.

    B = 1/8 sum_d (m_d - m'_d)^2 / v_d + 1/2 ln(v / sqrt(s s')), v the mean of the variances s and s' (ddof 0). A diagonal
    Gaussian has a variance and a logarithm per feature. A spherical one has the mean variance, and the logarithm counts once,
    as in the method's code; the exact distance has it D times.

    Args:
        features: finite (N, D); their scale matters.
        labels: (N,), whole numbers.
        diagonal: diagonal instead of spherical Gaussians.

    Returns:
        The score in [-C (C - 1), 0], NaN for fewer than two classes, and flags: `floored` (variances raised to FLOOR) and
        `constant` (all embeddings are equal: the lowest score).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Pándy et al., Transferability Estimation using Bhattacharyya Class Separability, CVPR 2022.
    """
    check_labelled(features, labels)
    classes, moved = np.unique(labels), centred(features)
    if len(classes) < 2:
        return float("nan"), {}
    means = np.stack([moved[labels == label].mean(axis=0) for label in classes])  # (C, D)
    variances = np.stack([moved[labels == label].var(axis=0) for label in classes])  # (C, D)
    if not diagonal:
        variances = variances.mean(axis=1, keepdims=True)  # (C, 1)
    floored = int((variances < FLOOR).sum())
    variances = np.maximum(variances, FLOOR)
    total = 0.0
    for number, (mean, variance) in enumerate(zip(means, variances, strict=True)):
        shared = (variances + variance) / 2  # (C, D) or (C, 1)
        distance = (np.square(means - mean) / shared).sum(axis=1) / 8
        distance += np.log(shared / np.sqrt(variances * variance)).sum(axis=1) / 2
        total += float(np.exp(-np.delete(distance, number)).sum())
    return -total, counted(floored=floored, constant=not moved.any())


class GBC(LabelledIndicator):
    """GBC of the labelled pixels or images with spherical Gaussians."""

    name: ClassVar[str] = "gbc"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute GBC of the sample."""
        return gbc(sample.features, sample.labels)


class DiagonalGBC(LabelledIndicator):
    """GBC of the labelled pixels or images with diagonal Gaussians."""

    name: ClassVar[str] = "gbc_diag"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute GBC of the sample."""
        return gbc(sample.features, sample.labels, diagonal=True)
