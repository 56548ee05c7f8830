"""Metrics of image labels: AUC, kappa, accuracy, sensitivity at a specificity and calibration, each with weighted samples.

The weights are how often each sample counts: (N,), or (..., N) for as many values at once, such as draws of patients. Those that
lie sample by sample in memory, as `weigh_samples` makes them, are read faster. A value that the samples do not define is NaN: the
AUC where one of two labels is missing, kappa where all labels and predictions are the same one.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Array = NDArray[np.float64]
BINS = 15  # of the calibration error
SPECIFICITY = 0.9


class Ranking:
    """Positives and negatives by their scores, for metrics with many weights."""

    def __init__(self, scores: ArrayLike, positive: ArrayLike, known: ArrayLike | None = None) -> None:
        """Rank the samples.

        Args:
            scores: (N,), higher for positives.
            positive: bool (N,).
            known: which samples count, bool (N,); None: all.

        Raises:
            ValueError: a score is NaN, or the lengths differ.
        """
        values, labels = np.asarray(scores, np.float64), np.asarray(positive, bool)
        counted = np.ones(values.shape, bool) if known is None else np.asarray(known, bool)
        if values.ndim != 1 or values.shape != labels.shape or np.isnan(values[counted]).any():
            raise ValueError(f"expected as many scores as labels and none of them NaN, but got {values.shape} and {labels.shape}")
        order = np.argsort(values, kind="stable")
        order = order[counted[order]]
        self._count, self._positives, self._negatives = len(values), order[labels[order]], order[~labels[order]]
        of_positives, of_negatives = values[self._positives], values[self._negatives]
        self._lower = np.searchsorted(of_negatives, of_positives, "left")  # number of negatives that score lower than each positive
        self._not_higher = np.searchsorted(of_negatives, of_positives, "right")  # that score no higher
        self._first = np.searchsorted(of_positives, of_positives, "left")  # first positive with the same score

    def roc_auc(self, weights: ArrayLike | None = None) -> Array:
        """Compute the area under the ROC curve with weights (..., N), as the function of this name does."""
        weight = self._by_sample(weights)
        positives, negatives = weight[self._positives], _from_zero(weight[self._negatives])
        below = negatives[self._lower]
        below += negatives[self._not_higher]  # twice the negatives below, as those that tie count half
        pairs = np.asarray(np.einsum("n...,n...->...", positives, below)) / 2
        return _divide(pairs, positives.sum(axis=0) * negatives[-1])

    def sensitivity_at_specificity(self, weights: ArrayLike | None = None, specificity: float = SPECIFICITY) -> Array:
        """Compute the highest sensitivity with weights (..., N), as the function of this name does."""
        weight = self._by_sample(weights)
        positives, negatives = _from_zero(weight[self._positives]), _from_zero(weight[self._negatives])
        hits = positives[-1] - positives[self._first]  # with a threshold at the score of each positive; others hit no more
        allowed = negatives[self._lower] >= (specificity - 1e-12) * negatives[-1]
        share = _divide(np.where(allowed, hits, 0.0).max(axis=0, initial=0.0), positives[-1])
        return np.where(negatives[-1] > 0, share, np.nan)

    def _by_sample(self, weights: ArrayLike | None) -> Array:
        """Return the weights with the samples on the first axis, (N, ...)."""
        return np.moveaxis(_weights(weights, self._count), -1, 0)


def roc_auc(scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """Compute the area under the ROC curve: how probable it is that a positive sample scores higher than a negative one.

    Args:
        scores: (N,), higher for positives; ties count half.
        positive: bool (N,).
        weights: (..., N); None: 1.

    Returns:
        (...), NaN without positives or without negatives.

    Raises:
        ValueError: a score is NaN, or the lengths differ.

    Source: Hanley and McNeil, Radiology 1982.
    """
    return Ranking(scores, positive).roc_auc(weights)


def placements(scores: ArrayLike, positive: ArrayLike) -> Array:
    """Return the share of samples with the other label that each sample is ranked rightly against; their mean is the AUC.

    Args:
        scores: (N,); a tie counts half.
        positive: bool (N,).

    Returns:
        (N,), NaN where one of the labels is missing.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988, the components of the AUC.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    placed = np.full(len(values), np.nan)
    for label in (False, True):
        others = np.sort(values[positive != label])
        if len(others):
            own = values[positive == label]
            below = (np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")) / (2 * len(others))
            placed[positive == label] = below if label else 1 - below
    return placed


def sensitivity_at_specificity(
    scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None, specificity: float = SPECIFICITY
) -> Array:  # fmt: skip
    """Compute the highest sensitivity of all thresholds on the score whose specificity is at least the given one.

    Args:
        scores: (N,); a sample is called positive from the threshold on.
        positive: bool (N,).
        weights: (..., N); None: 1.
        specificity: in [0, 1].

    Returns:
        (...), NaN without positives or without negatives.
    """
    return Ranking(scores, positive).sensitivity_at_specificity(weights, specificity)


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, classes: int, weights: ArrayLike | None = None) -> Array:
    """Count the samples by true and predicted class.

    Args:
        truth: class 0..classes - 1, (N,).
        predicted: likewise.
        classes: number of classes, whether or not all of them occur.
        weights: (..., N); None: 1.

    Returns:
        (..., classes, classes), rows are true classes.

    Raises:
        ValueError: a class is unknown, or the lengths differ.
    """
    rows, columns = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    if rows.shape != columns.shape or any(((part < 0) | (part >= classes)).any() for part in (rows, columns)):
        raise ValueError(f"expected as many predicted as true classes, all of 0..{classes - 1}")
    weight = _weights(weights, len(rows))
    cells = sparse.csr_array((np.ones(len(rows)), (rows * classes + columns, np.arange(len(rows)))), (classes**2, len(rows)))
    counts = (cells @ weight.reshape(-1, len(rows)).T).T
    return np.asarray(counts).reshape(*weight.shape[:-1], classes, classes)


def kappa(confusion: ArrayLike, power: int = 2) -> Array:
    """Compute Cohen's kappa: agreement beyond chance, 1 - observed / expected disagreement.

    Args:
        confusion: (..., C, C), of all C grades in their order, those that do not occur included.
        power: disagreement of grades i and j is |i - j|^power: 2 quadratic, 1 linear, 0 unweighted.

    Returns:
        (...), NaN where every label and every prediction is the same grade.

    Source: Cohen, Psychological Bulletin 1968.
    """
    counts = np.asarray(confusion, np.float64)
    observed, expected = (counts * _disagreement(counts.shape[-1], power)).sum(axis=(-2, -1)), _by_chance(counts, power)
    return 1 - _divide(observed, expected)


def kappa_shares(truth: ArrayLike, predicted: ArrayLike, classes: int, power: int = 2) -> Array:
    """Return what each sample contributes to kappa, whose mean kappa is: 1 - its own / the expected disagreement.

    Returns:
        (N,), at most 1, NaN where kappa is undefined.
    """
    rows, columns = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    expected = _by_chance(confusion_matrix(rows, columns, classes), power)
    return 1 - _divide(len(rows) * _disagreement(classes, power)[rows, columns], np.broadcast_to(expected, rows.shape))


def accuracy(confusion: ArrayLike) -> Array:
    """Compute the share of right predictions from counts (..., C, C)."""
    counts = np.asarray(confusion, np.float64)
    return _divide(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def balanced_accuracy(confusion: ArrayLike) -> Array:
    """Compute the mean over the classes that occur of the share of their samples that is predicted rightly, of (..., C, C)."""
    counts = np.asarray(confusion, np.float64)
    return mean_defined(_divide(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1)))


def calibration_error(confidence: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None, bins: int = BINS) -> Array:
    """Compute the expected calibration error: mean over samples of |confidence - share that is right|, both means of a bin.

    Args:
        confidence: probability, (N,).
        right: bool (N,), what it is the probability of.
        weights: (..., N); None: 1.
        bins: equally wide, each with its upper end.

    Source: Guo et al., ICML 2017 (arXiv:1706.04599), equation 3.
    """
    values = np.asarray(confidence, np.float64)
    weight = _weights(weights, len(values))
    gaps = weight * (values - np.asarray(right, np.float64))  # (..., N)
    cells = (np.ceil(values * bins).astype(np.int64) - 1).clip(0, bins - 1)
    apart = sum(np.abs(gaps[..., cells == cell].sum(axis=-1)) for cell in np.unique(cells))
    return _divide(np.asarray(apart), weight.sum(axis=-1))


def weigh_samples(taken: ArrayLike, group: NDArray[np.int64]) -> Array:
    """Return how often each sample counts in draws of groups, (B, N), which lies sample by sample in memory.

    Args:
        taken: how often each group is taken in each draw, (B, G).
        group: position of the group of each sample, (N,).
    """
    return np.asarray(taken).T.astype(np.float64, order="C")[group].T


def mean_defined(values: Array) -> Array:
    """Return the mean over the last axis of the values that are not NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return _divide(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))


def _from_zero(values: Array) -> Array:
    """Return the sums of the first n values on the first axis, n = 0..N, (N + 1, ...)."""
    sums = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=sums[1:])
    return sums


def _weights(weights: ArrayLike | None, count: int) -> Array:
    weight = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if weight.shape[-1] != count:
        raise ValueError(f"expected a weight for each of {count} samples, but got {weight.shape[-1]}")
    return weight


def _disagreement(classes: int, power: int) -> Array:
    grades = np.arange(classes)
    apart = np.abs(grades[:, None] - grades)
    return np.where(apart > 0, apart.astype(np.float64) ** power, 0.0)


def _by_chance(counts: Array, power: int) -> Array:
    """Return the disagreement of independent labels and predictions with the same totals (...)."""
    true, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    pairs = np.einsum("...i,ij,...j->...", true, _disagreement(counts.shape[-1], power), predicted)
    return _divide(np.asarray(pairs), counts.sum(axis=(-2, -1)))


def _divide(numerator: Array, denominator: Array) -> Array:
    """Divide; NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=np.asarray(denominator) > 0)
