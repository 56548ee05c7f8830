"""PARC: whether samples whose embeddings differ have different labels."""

from typing import ClassVar

import numpy as np
from scipy import stats

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels


def parc(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute 100 times Spearman's correlation, over pairs of samples, of 1 - r with whether their labels differ.

    r is Pearson's correlation of their embeddings, each feature standardised first; 0 where an embedding does not vary.

    Args:
        features: finite (N, D).
        labels: (N,), whole numbers.

    Returns:
        The score in [-100, 100], NaN where all pairs of labels are alike, and flags: `flat` (embeddings that do not vary over
        the features) and `constant` (all embeddings are equal; the score is 0).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Bolya, Mittapalli, Hoffman, Scalable Diverse Model Selection for Accessible Transfer Learning, NeurIPS 2021.
    """
    check_labelled(features, labels)
    pairs = np.triu_indices(len(labels), 1)
    differ = (labels[:, None] != labels)[pairs]
    if differ.all() or not differ.any():
        return float("nan"), {}
    moved = centred(features)
    spread = moved.std(axis=0)
    rows = moved / np.where(spread > 0, spread, 1)
    rows = centred(rows.T).T  # each embedding's own mean is taken off
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(norms > 0, norms, 1)
    distances = 1 - (rows @ rows.T)[pairs]
    flags = counted(flat=(norms == 0).sum(), constant=not moved.any())
    if not np.ptp(distances):
        return 0.0, flags
    return 100 * float(stats.spearmanr(distances, differ).statistic), flags


class PARC(LabelledIndicator):
    """PARC of the labelled pixels or images."""

    name: ClassVar[str] = "parc"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute PARC of the sample."""
        return parc(sample.features, sample.labels)
