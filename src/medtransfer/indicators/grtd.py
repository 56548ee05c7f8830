"""GRTD: the weight of the edges of the spanning tree that stay within a class."""

from typing import ClassVar

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.friedman_rafsky import MOST, first_of_each
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels
from medtransfer.indicators.spanning_tree import pairwise_distances, spanning_tree


def grtd(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute minus the mean over classes of the weight kept by the tree's edges that touch the class.

    Of the sum of lengths w of these edges, min(w, t) is taken off for each edge that joins two classes; t is the median
    distance of all pairs of samples. Shuffled labels raise the score, so it is not a measure of separation.

    Args:
        features: finite (N, D).
        labels: (N,), whole numbers.

    Returns:
        The score in [-1, 0], NaN for fewer than two classes or where a class touches no edge longer than zero, and flags as of
        `friedman_rafsky`; where equal embeddings have several labels, an edge counts with their shares.

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: arXiv:2602.23916, without the weights of a decoder's stages.
    """
    check_labelled(features, labels)
    y = one_hot(labels)
    if y.shape[1] < 2:
        return float("nan"), {}
    tree = spanning_tree(features)
    flags = counted(duplicates=tree.duplicates, tied_distances=tree.tied, constant=not len(tree.edges))
    counts = np.zeros((len(tree.edges) + 1, y.shape[1]))
    np.add.at(counts, tree.point, y)
    share = counts / counts.sum(axis=1, keepdims=True)  # (points, C)
    first, second = share[tree.edges[:, 0]], share[tree.edges[:, 1]]  # (edges, C)
    touching = tree.lengths @ (first + second - first * second)  # (C,)
    middle = np.median(pairwise_distances(centred(features))[np.triu_indices(len(y), 1)])
    joining = np.minimum(tree.lengths, middle) @ (first + second - 2 * first * second)
    if not touching.all():
        return float("nan"), flags
    return float(-np.mean((touching - joining) / touching)), flags


class GRTD(LabelledIndicator):
    """GRTD of at most MOST labelled pixels or images."""

    name: ClassVar[str] = "grtd"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute GRTD of the sample."""
        rows = first_of_each(sample.labels, MOST)
        return grtd(sample.features[rows], sample.labels[rows])
