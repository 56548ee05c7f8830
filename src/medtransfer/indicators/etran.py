"""ETran: the energy of embeddings, without labels."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medtransfer.indicators.contract import Context
from medtransfer.indicators.directions import require_samples
from medtransfer.indicators.samples.pixels import Embeddings
from medtransfer.indicators.unlabelled import PixelIndicator


def etran(features: NDArray[np.float64]) -> tuple[float, dict[str, int]]:
    """Compute the mean of ln Σ exp(x) over the features of a sample, minus its energy.

    Args:
        features: finite (N, D); scale, offset and number of features matter.

    Returns:
        The value, NaN with the flag `constant` if all embeddings are equal, which no energy speaks for.

    Raises:
        ValueError: the features are no sample.

    Source: Gholami et al., ETran: Energy-Based Transferability Estimation, ICCV 2023: its energy score, without those of
    classification and regression.
    """
    require_samples(features)
    if (features == features[0]).all():
        return np.nan, {"constant": 1}
    return float(special.logsumexp(features, axis=1).mean()), {}


class ETran(PixelIndicator):
    """Energy score of ETran on pixel embeddings."""

    name: ClassVar[str] = "etran"
    within_width: ClassVar[bool] = True

    def measure(self, sample: Embeddings, context: Context) -> tuple[float, dict[str, int]]:
        """Compute the energy score of the sample."""
        return etran(sample.features)
