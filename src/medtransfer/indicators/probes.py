"""Scores of probes, whose predictions for a group of images, such as a patient, come from the other groups."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import Labels, Numbers, counted, one_hot
from medtransfer.indicators.sampled import Flags, assign_blocks
from medtransfer.indicators.samples.labelled_pixels import Pixels
from medtransfer.metrics.classification import roc_auc

TIED = 9  # decimals up to which the scores of two classes count as tied


class LeftOut(NamedTuple):
    """Predictions of a probe.

    Attributes:
        scores: (N, C), of the classes in the order of their labels.
        flags: counts of noteworthy events.
    """

    scores: Numbers
    flags: Flags


def predicted(scores: Numbers, labels: Labels) -> Labels:
    """Return the class of the highest score, the lowest label in a tie.

    Args:
        scores: (N, C), of the classes in the order of their labels.
        labels: (N,), true labels, which name the classes.
    """
    classes: Labels = np.unique(labels)[np.round(scores, TIED).argmax(axis=1)]
    return classes


def accuracy(scores: Numbers, labels: Labels) -> float:
    """Return the share of samples whose class has the highest score; arguments as in `predicted`."""
    return float((predicted(scores, labels) == labels).mean())


def mean_dice(scores: Numbers, labels: Labels) -> float:
    """Return the mean over foreground classes of (2 TP + 1) / (pixels predicted + pixels of the class + 1).

    Args:
        scores: (N, C), of the classes in the order of their labels.
        labels: (N,), 0 is background; a class without a pixel is passed over.

    Returns:
        The Dice of all pixels together, in (0, 1]; NaN if all are background.
    """
    guess = predicted(scores, labels)
    dice = [
        (2 * ((guess == label) & (labels == label)).sum() + 1) / ((guess == label).sum() + (labels == label).sum() + 1)
        for label in np.unique(labels)
        if label
    ]
    return float(np.mean(dice)) if dice else float("nan")


def mean_auc(scores: Numbers, labels: Labels, groups: Labels) -> float:
    """Return the mean over classes of the AUC of what a probe predicts beyond the mean of the labels that it was fitted to.

    A class is rarer in other groups where it is frequent in the one that is left out: with that mean, a probe that knows nothing
    would have an AUC below 0.5.

    Args:
        scores: (N, C), of the classes in the order of their labels, each fitted to one-hot labels of the other groups.
        labels: (N,), at least two different ones.
        groups: (N,), at least two different ones.
    """
    members = one_hot(labels)  # (N, C)
    others = members.sum(axis=0) - one_hot(groups).T @ members  # (G, C), of each class outside each group
    means = others / others.sum(axis=1, keepdims=True)
    return _mean_auc(scores - means[np.unique(groups, return_inverse=True)[1]], labels)


def vote_auc(scores: Numbers, labels: Labels, groups: Labels) -> float:
    """Return the mean over classes of the AUC of votes.

    The mean of the labels of other groups is not subtracted, as in `mean_auc`: votes take few values, and it would decide every
    tie for the class that is rarer in other groups.

    Args:
        scores: votes (N, C) for the classes in the order of their labels.
        labels: (N,), at least two different ones.
        groups: (N,).
    """
    return _mean_auc(scores, labels)


def _mean_auc(scores: Numbers, labels: Labels) -> float:
    """Return the mean over classes of the AUC of each against the others."""
    return float(np.mean([roc_auc(*column) for column in zip(np.round(scores, TIED).T, one_hot(labels).T > 0, strict=True)]))


def probe(
    left_out: Callable[[Numbers, Labels, Labels], LeftOut], of_images: Callable[[Numbers, Labels, Labels], float], sample: Pixels,
    context: Context, most: int | None = None,
) -> tuple[float, Flags]:  # fmt: skip
    """Compute the value of a probe, which predicts each group from the others: mean Dice of pixels, or mean AUC of images.

    Args:
        left_out: the probe, a function of features (N, D), labels (N,) and groups (N,).
        of_images: value for labels of images, a function of scores (N, C), labels (N,) and groups (N,).
        sample: of labelled pixels or images.
        context: names the group of each image, and says whether images have labels.
        most: groups are left out together, in at most so many blocks; None: one at a time.

    Returns:
        The value, NaN if the sample has fewer than two groups or classes, and flags: those of the probe, and
        `one_group_classes` (classes of one group only, which no other group can teach).
    """
    names, of_image = np.unique(context.groups, return_inverse=True)
    if most is not None and len(names) > most:
        of_image = assign_blocks(context.groups, most, context.seed)
    groups = of_image[sample.images]
    if len(np.unique(groups)) < 2 or len(np.unique(sample.labels)) < 2:
        return float("nan"), {}
    scores, flags = left_out(sample.features, sample.labels, groups)
    alone = sum(len(np.unique(groups[sample.labels == label])) == 1 for label in np.unique(sample.labels))
    value = of_images(scores, sample.labels, groups) if context.labels != "pixels" else mean_dice(scores, sample.labels)
    return value, flags | counted(one_group_classes=alone)
