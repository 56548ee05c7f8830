"""Nearest-neighbour probe: Dice, or AUC for labels of images, of a vote of the nearest of other patients."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, check_labelled, counted, one_hot
from medtransfer.indicators.probes import LeftOut, probe, vote_auc
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels

NEIGHBOURS = 5
TIED = 12  # decimals up to which two similarities count as tied


def knn_left_out(features: Numbers, labels: Labels, groups: Labels) -> LeftOut:
    """Let the NEIGHBOURS samples of other groups with the highest cosine similarity vote.

    Samples that tie for the last votes share them, so that their order changes nothing. A zero vector has the similarity 0
    to all.

    Args:
        features: finite (N, D).
        labels: (N,), whole numbers.
        groups: (N,), whole numbers, at least two different ones.

    Returns:
        The votes for each class, (N, C), and flags: `tied_votes` (samples for which more than NEIGHBOURS others come into
        question), `zero` (zero vectors) and `constant` (all embeddings are equal: each class has its share of the votes).

    Raises:
        ValueError: the shapes do not fit, there is one group only or no sample, or a feature is not finite.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, with equal votes.
    """
    check_labelled(features, labels, groups)
    if len(np.unique(groups)) < 2:
        raise ValueError(f"expected at least 2 groups, but got 1 for {len(groups)} samples; a probe predicts one from the others")
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(norms > 0, norms, 1.0)
    similarity = np.round(unit @ unit.T, TIED)  # (N, N)
    similarity[groups[:, None] == groups] = -np.inf
    votes, shared = vote(similarity, one_hot(labels))
    equal = (features == features[0]).all()
    return LeftOut(votes, counted(tied_votes=int(shared.sum()), zero=(norms == 0).sum(), constant=equal))


def vote(similarity: Numbers, y: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
    """Let the NEIGHBOURS most similar samples vote; those that tie for the last votes share them.

    Args:
        similarity: (N, N), rounded; minus infinity for samples without a vote.
        y: members of each class, (N, C).

    Returns:
        The votes for each class, (N, C), and for which samples more than NEIGHBOURS others come into question, (N,).
    """
    place = max(0, len(y) - NEIGHBOURS)
    last = np.partition(similarity, place, axis=1)[:, place, None]  # of the neighbour with the last vote; -inf: too few others
    nearer, tied = similarity > last, (similarity == last) & np.isfinite(last)
    left, sharing = NEIGHBOURS - nearer.sum(axis=1, keepdims=True), tied.sum(axis=1, keepdims=True)
    return nearer @ y + (tied @ y) * left / np.maximum(sharing, 1), (sharing > left)[:, 0]


class NearestNeighbours(LabelledIndicator):
    """Dice of the nearest-neighbour probe on labelled pixels, or its AUC on labelled images, patients left out."""

    name: ClassVar[str] = "knn"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute the mean Dice of the foreground classes, or the mean AUC of the classes of images."""
        value, flags = probe(knn_left_out, vote_auc, sample, context)
        return 0.5 if "constant" in flags and context.labels != "pixels" else value, flags  # else below, as by the others' share
