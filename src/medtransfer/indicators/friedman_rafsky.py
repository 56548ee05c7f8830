"""Friedman-Rafsky statistic: how rarely the minimum spanning tree of embeddings joins two classes."""

import math
from typing import ClassVar

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels
from medtransfer.indicators.spanning_tree import spanning_tree

MOST = 2000  # samples; the time grows with their square


def friedman_rafsky(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute 1 - r / r0: r is the share of edges of the tree that join two labels, r0 that expected of shuffled labels.

    Equal embeddings are joined in random order: their edges count with the share expected over all orders.

    Args:
        features: finite (N, D); balanced classes make values comparable.
        labels: (N,), whole numbers.

    Returns:
        The score, near 1 for classes that are clusters of their own and about 0 for shuffled labels, NaN for fewer than two
        classes; and flags: `duplicates` (samples that equal an earlier one), `tied_distances` (edges of a length that other
        pairs have too, so that there may be several trees) and `constant` (all embeddings are equal: 0).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Friedman and Rafsky, Multivariate Generalizations of the Wald-Wolfowitz and Smirnov Two-Sample Tests, Annals of
    Statistics 1979, Section 3, for any number of classes.
    """
    check_labelled(features, labels)
    y = one_hot(labels)
    n = len(y)
    if y.shape[1] < 2:
        return float("nan"), {}
    tree = spanning_tree(features)
    counts = np.zeros((len(tree.edges) + 1, y.shape[1]))
    np.add.at(counts, tree.point, y)  # (points, C)
    sizes = counts.sum(axis=1)
    share = counts / sizes[:, None]
    between = 1 - (share[tree.edges[:, 0]] * share[tree.edges[:, 1]]).sum(axis=1)
    within = np.where(sizes > 1, sizes - 1, 0) * _chance(counts)
    joining = (between.sum() + within.sum()) / (n - 1)
    flags = counted(duplicates=tree.duplicates, tied_distances=tree.tied, constant=not len(tree.edges))
    return float(1 - joining / _chance(y.sum(axis=0))), flags


def _chance(counts: Numbers) -> Numbers:
    """Return the chance that two of the samples have different labels, given their numbers (…, C); 0 for one sample."""
    n = counts.sum(axis=-1)
    chance: Numbers = 1 - (counts * (counts - 1)).sum(axis=-1) / np.maximum(n * (n - 1), 1)
    return np.where(n > 1, chance, 0.0)


def first_of_each(labels: Labels, most: int) -> Labels:
    """Return the first rows of each class, as many of each and `most` at most, where the class has that many."""
    classes = np.unique(labels)
    return np.concatenate([np.flatnonzero(labels == label)[: max(1, most // len(classes))] for label in classes])


class FriedmanRafsky(LabelledIndicator):
    """Friedman-Rafsky statistic of at most MOST labelled pixels or images."""

    name: ClassVar[str] = "fr"
    bounds: ClassVar[tuple[float, float]] = (-math.inf, 1.0)

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute the statistic of the sample."""
        rows = first_of_each(sample.labels, MOST)
        return friedman_rafsky(sample.features[rows], sample.labels[rows])
