"""NCTI: how near the classes are to neural collapse in a discriminant analysis of the embeddings."""

from typing import ClassVar

import numpy as np
from scipy import linalg

from medtransfer.indicators.contract import Context
from medtransfer.indicators.discriminant import class_means, posterior, shrink, within_covariance
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels

COMPONENTS = 64  # principal components that are analysed
LEADING = 32  # those whose variance sets the shrinkage
LEAST = 1e-10  # shrinkage
SATURATED = 1e-9  # distance of the posterior from 1


def ncti_terms(features: Numbers, labels: Labels) -> tuple[dict[str, float], Flags]:
    """Compute the three terms of NCTI, each higher for classes nearer to neural collapse.

    The first COMPONENTS principal components are analysed with a covariance within classes W (ddof 0) shrunk to
    (1 - s) W + s tr(W)/D I, s = exp(-variance of the first LEADING components). With Z the centred projection on the
    discriminant directions and P_c the posteriors of the samples of class c, (n_c, C):

    Args:
        features: finite (N, D); their scale matters.
        labels: (N,), whole numbers.

    Returns:
        `posterior` (mean posterior of the true class), `spread` (ln of the nuclear norm of Z) and `collapse` (minus the ln of
        the sum over classes of the nuclear norm of P_c), or nothing where they are not defined; and flags: `constant` (all
        embeddings are equal), `collapsed_classes` (every class is one point) and `saturated` (the posterior is 1 but for
        rounding, as with fewer samples than features).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Wang et al., How Far Pre-trained Models Are from Neural Collapse on the Target Dataset Informs their
    Transferability, ICCV 2023, and its code.
    """
    check_labelled(features, labels)
    y, moved = one_hot(labels), centred(features)
    if y.shape[1] < 2 or not moved.any():
        return {}, {} if moved.any() else {"constant": 1}
    x = principal_components(moved, COMPONENTS)
    shrinkage = max(float(np.exp(-x[:, :LEADING].var(axis=0, ddof=1).sum())), LEAST)
    within = within_covariance(x, y)
    if np.trace(within) <= np.finfo(np.float64).eps * np.square(x).sum() / len(x):
        return {}, {"collapsed_classes": 1}
    covariance, d = shrink(within, shrinkage), x.shape[1]
    projected = x @ _directions(x, y, covariance, shrinkage)[:, -min(y.shape[1] - 1, d) :]
    probabilities = posterior(x, y, covariance)
    collapse = sum(np.linalg.norm(probabilities[members > 0], "nuc") for members in y.T)
    true = float((probabilities * y).sum(axis=1).mean())
    return {
        "posterior": true,
        "spread": float(np.log(np.linalg.norm(projected, "nuc"))),
        "collapse": -float(np.log(collapse)),
    }, counted(saturated=1 - true < SATURATED)


def principal_components(moved: Numbers, most: int) -> Numbers:
    """Return the coordinates of centred embeddings (N, D) on their first principal axes, descending, without empty ones."""
    n, d = moved.shape
    gram = moved @ moved.T if n < d else moved.T @ moved
    values, vectors = linalg.eigh(gram, subset_by_index=[max(0, len(gram) - most), len(gram) - 1])
    kept = values > len(gram) * np.finfo(np.float64).eps * values[-1]
    axes = vectors[:, kept][:, ::-1]
    return axes * np.sqrt(values[kept][::-1]) if n < d else moved @ axes


def _directions(x: Numbers, y: Numbers, covariance: Numbers, shrinkage: float) -> Numbers:
    """Return the directions (D, D) in which the classes differ, in units of the covariance within classes, ascending."""
    spread = np.sqrt(y.mean(axis=0))[:, None] * class_means(x, y)  # x has mean 0
    directions: Numbers = linalg.eigh(shrink(spread.T @ spread, shrinkage), covariance)[1]
    return directions


def ncti(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute the sum of the three terms of `ncti_terms`, NaN where they are not defined, and their flags.

    The published score adds the terms after scaling each to [0, 1] over the candidates, with the nuclear norm of Z itself for
    its logarithm. Here a value is that of one candidate, whichever others there are; logarithms of both norms grow alike
    with the number of samples.
    """
    terms, flags = ncti_terms(features, labels)
    return _sum(terms), flags


def _sum(terms: dict[str, float]) -> float:
    return sum(terms.values()) if terms else float("nan")


class NCTI(LabelledIndicator):
    """NCTI of the labelled pixels or images, with its terms."""

    name: ClassVar[str] = "ncti"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute NCTI of the sample."""
        return ncti(sample.features, sample.labels)

    def measure_terms(self, sample: Pixels, context: Context) -> tuple[float, Flags, dict[str, float]]:
        """Compute NCTI and its three terms."""
        terms, flags = ncti_terms(sample.features, sample.labels)
        return _sum(terms), flags, terms
