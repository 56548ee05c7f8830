"""Mean difference of two models that were trained with the same seeds and judged on the same patients."""

from dataclasses import dataclass
from math import hypot, inf, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from medtransfer.metrics.jackknife import standard_error

Interval = tuple[float, float]
ROUNDING = 1e-12  # errors up to this come from the order of additions


@dataclass(frozen=True)
class PairedDifference:
    """A mean difference, and how well it is known.

    Attributes:
        value: mean over seeds.
        error_over_seeds: its standard error over seeds, on these patients.
        seeds: their number.
        error_over_patients: its standard error over patients, with these seeds; None with fewer than two.
        patients: their number; 0 where nothing is known by patient.
    """

    value: float
    error_over_seeds: float
    seeds: int
    error_over_patients: float | None
    patients: int

    def interval(self, confidence: float) -> Interval:
        """Return an interval for other seeds and other patients; for other seeds alone where there are too few patients.

        Where these are too few and all seeds differ by the same, as heads that are solved for do, nothing tells how well the
        difference is known, and the interval has no limits.

        Either error has Student's value of its own number, since that of few seeds is itself uncertain, and the two half-widths
        are added as squares. What differs by seed and patient together is in both, so that it covers rather more than it says.

        Source: Howe, Approximate confidence limits on the mean of X + Y where X and Y are two tabled independent random
            variables, Journal of the American Statistical Association 69, 1974.
        """
        half = _student(confidence, self.seeds) * self.error_over_seeds
        if self.error_over_patients is None and self.error_over_seeds <= ROUNDING:
            half = inf
        if self.error_over_patients is not None:
            half = hypot(half, _student(confidence, self.patients) * self.error_over_patients)
        return self.value - half, self.value + half


def paired_difference(values: ArrayLike, without: ArrayLike) -> PairedDifference:
    """Return the mean of differences and its errors.

    Args:
        values: (S,), difference of the metric over all patients, by seed; at least two.
        without: (S, P), the same without each of P patients; P = 0 where it is not known.

    Raises:
        ValueError: there are fewer than two seeds, the shapes do not fit, or a number is not finite.
    """
    sample, replicates = np.asarray(values, dtype=np.float64), np.asarray(without, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < 2 or replicates.ndim != 2 or len(replicates) != len(sample):
        raise ValueError(f"expected (S,) and (S, P) with at least 2 seeds, but got shapes {sample.shape} and {replicates.shape}")
    if not (np.isfinite(sample).all() and np.isfinite(replicates).all()):
        raise ValueError(f"expected finite differences, but got {sample} and {replicates}")
    seeds, patients = replicates.shape
    over_patients = standard_error(replicates.mean(axis=0)) if patients > 1 else None
    return PairedDifference(
        float(sample.mean()), float(sample.std(ddof=1) / sqrt(seeds)), seeds, over_patients, patients
    )  # fmt: skip


def _student(confidence: float, count: int) -> float:
    return float(special.stdtrit(count - 1, (1 + confidence) / 2))  # Student's t; scipy.stats takes a second to load
