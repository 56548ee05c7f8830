"""Alpha-ReQ: how fast the eigenvalues of the covariance of pixel embeddings decay."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import StrictInt, model_validator

from medtransfer.config import Section
from medtransfer.indicators.contract import Context, Options
from medtransfer.indicators.samples.pixels import Embeddings
from medtransfer.indicators.spectrum import spectrum
from medtransfer.indicators.unlabelled import PixelIndicator
from medtransfer.records.scores import Setting

FEWEST = 5  # eigenvalues that a slope is fitted to


def alpha(features: NDArray[np.float64], first: int, last: int) -> tuple[float, dict[str, int]]:
    """Fit a power law to eigenvalues of the covariance: alpha is minus the slope of ln lambda_j on ln j, with weights 1 / j.

    Args:
        features: finite (N, D).
        first: rank of the first eigenvalue of the fit, from 1.
        last: rank of the last one; the fit ends before it where there are fewer that are not zero.

    Returns:
        Alpha, NaN of fewer than FEWEST eigenvalues; and flags: those of `spectrum`, and `beyond_rank` (eigenvalues from
        `first` to `last` that are zero or do not exist).

    Raises:
        ValueError: the features are no sample.

    Source: Agrawal et al., alpha-ReQ: Assessing Representation Quality in Self-Supervised Learning by Measuring Eigenspectrum
    Decay, NeurIPS 2022, whose range is 11 to 100.
    """
    squares, flags = spectrum(features)
    ranks = np.arange(first, min(last, len(squares)) + 1)
    if missing := last - first + 1 - len(ranks):
        flags |= {"beyond_rank": missing}
    if len(ranks) < FEWEST:
        return np.nan, flags
    slope = np.polyfit(np.log(ranks), np.log(squares[ranks - 1]), 1, w=ranks**-0.5)[0]  # polyfit squares its weights
    return -float(slope), flags


class AlphaOptions(Section):
    """Eigenvalues of the covariance that alpha is fitted to."""

    first: StrictInt
    """rank of the first eigenvalue of the fit, from 1, the largest"""
    last: StrictInt
    """rank of the last one"""

    @model_validator(mode="after")
    def _check_range(self) -> "AlphaOptions":
        if not 1 <= self.first <= self.last - FEWEST + 1:
            raise ValueError(f"expected at least {FEWEST} ranks from 1 on, but got first {self.first} and last {self.last}")
        return self


class AlphaReQ(PixelIndicator):
    """Minus the distance of alpha to 1, the decay of representations that generalise best according to its authors."""

    name: ClassVar[str] = "alpha"
    options: ClassVar[type[Section]] = AlphaOptions

    def setting(self, options: Options) -> Setting:
        """Return the parameters, the range of ranks among them."""
        own = self._own(options)
        return {**super().setting(options), "alpha_first": own.first, "alpha_last": own.last}

    def measure(self, sample: Embeddings, context: Context) -> tuple[float, dict[str, int]]:
        """Compute -|alpha - 1|."""
        own = self._own(context.options)
        value, flags = alpha(sample.features, own.first, own.last)
        return -abs(value - 1), flags

    def _own(self, options: Options) -> AlphaOptions:
        own = options.own[self.name]
        assert isinstance(own, AlphaOptions)
        return own
