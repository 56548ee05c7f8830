"""LogME: the evidence of labels under a Bayesian linear model of pixel embeddings."""

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Numbers
from medtransfer.indicators.samples.labelled_pixels import Pixels

GRID = 257  # ratios of precisions that are tried before the best is refined
REST = 1e-12  # smallest residual, as a share of the labels' square, so that a perfect fit has a finite evidence


def logme(features: Numbers, labels: NDArray[np.int64]) -> tuple[float, dict[str, int]]:
    """Compute the mean over classes of the highest evidence per sample.

    For each class against the others, y in {0, 1}: y ~ N(F w, 1/b), w ~ N(0, 1/a), with the a and b that make y most likely.
    All D eigenvalues of F'F count, also the zeros; neither F nor y is centred.

    Args:
        features: F, finite (N, D).
        labels: (N,), whole numbers.

    Returns:
        The score, NaN of one class, and flags: `rank_deficit` (D minus the rank of F) and `perfect_fits` (classes whose labels
        are a linear function of the features, so that only REST limits the evidence); zeros are left out.

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning, ICML 2021.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or features.size == 0 or not np.isfinite(features).all():
        raise ValueError(f"expected finite features (N, D) and labels (N,), but got {features.shape} and {labels.shape}")
    if len(np.unique(labels)) < 2:
        return float("nan"), {}
    left, squares = _left_vectors(features)  # (N, rank), (rank,)
    rank = len(squares)
    fits = [_evidence(left, squares, (labels == label).astype(np.float64)) for label in np.unique(labels)]
    flags = {"rank_deficit": features.shape[1] - rank, "perfect_fits": sum(perfect for _, perfect in fits)}
    return float(np.mean([evidence for evidence, _ in fits])), {name: number for name, number in flags.items() if number}


def _left_vectors(features: Numbers) -> tuple[Numbers, Numbers]:
    """Return the left singular vectors and squared singular values of features that are not zero up to rounding, descending.

    The smaller of F'F and FF' is decomposed, several times as fast as a singular value decomposition. Directions below
    sqrt(1e-16 max(N, D)) of the largest count as zero; float32 features have no digits there.
    """
    n, d = features.shape
    squares, vectors = np.linalg.eigh(features.T @ features if d < n else features @ features.T)
    kept = (squares > squares[-1] * max(n, d) * np.finfo(np.float64).eps) & (squares > 0)
    squares, vectors = squares[kept][::-1], vectors[:, kept][:, ::-1]
    return (features @ vectors / np.sqrt(squares) if d < n else vectors), squares


def _evidence(left: Numbers, squares: Numbers, y: Numbers) -> tuple[float, bool]:
    """Return the highest log evidence per sample over a and b, and whether the fit is perfect.

    At a ratio t = a / b the best b is N / E with E = sum_i t z_i^2 / (t + s_i) + rest, z = U'y, and the evidence is
    1/2 sum_i ln(t / (t + s_i)) - N/2 ln(2 pi e E / N); eigenvalues that are zero cancel.
    """
    n, floor = len(y), REST * float(y @ y)
    z = left.T @ y
    rest = float(np.square(y - left @ z).sum())

    def error(log_t: ArrayLike) -> Numbers:
        t = np.exp(np.asarray(log_t))[..., None]
        return np.maximum((t * z**2 / (t + squares)).sum(-1) + rest, floor)

    def evidence(log_t: ArrayLike) -> Numbers:
        shrinkage = -np.log1p(squares / np.exp(np.asarray(log_t))[..., None]).sum(-1)
        return (shrinkage / 2 - n / 2 * np.log(2 * np.pi * np.e * error(log_t) / n)) / n

    if not len(squares):
        return float(evidence(0.0)), False
    tried = np.linspace(np.log(squares[-1] * REST / 100), np.log(squares[0] / REST), GRID)
    best = int(np.argmax(evidence(tried)))
    around = tried[max(0, best - 1)], tried[min(GRID - 1, best + 1)]
    refined = minimize_scalar(lambda log_t: -evidence(log_t), bounds=around, method="bounded", options={"xatol": 1e-10})
    at = np.array([refined.x, tried[best]])
    values = evidence(at)
    return float(values.max()), bool(error(at)[values.argmax()] <= 10 * floor)


class LogME(LabelledIndicator):
    """LogME of the labelled pixels or images."""

    name: ClassVar[str] = "logme"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, dict[str, int]]:
        """Compute LogME of the sample."""
        return logme(sample.features, sample.labels)
