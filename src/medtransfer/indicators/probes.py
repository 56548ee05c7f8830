"""Scores of probes, whose predictions for a group of images, such as a patient, come from the other groups."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import Labels, Numbers, counted
from medtransfer.indicators.sampled import Flags, assign_blocks
from medtransfer.indicators.samples.labelled_pixels import Pixels

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


def probe(
    left_out: Callable[[Numbers, Labels, Labels], LeftOut], sample: Pixels, context: Context, most: int | None = None
) -> tuple[float, Flags]:
    """Compute the mean Dice of a probe on a sample of pixels, each predicted without the pixels of its group.

    Args:
        left_out: the probe, a function of features (N, D), labels (N,) and groups (N,).
        sample: of labelled pixels.
        context: names the group of each image.
        most: groups are left out together, in at most so many blocks; None: one at a time.

    Returns:
        The Dice, NaN if the sample has fewer than two groups or classes, and flags: those of the probe, and `one_group_classes`
        (classes with pixels of one group only, which no other group can teach).
    """
    names, of_image = np.unique(context.groups, return_inverse=True)
    if most is not None and len(names) > most:
        of_image = assign_blocks(context.groups, most, context.seed)
    groups = of_image[sample.images]
    if len(np.unique(groups)) < 2 or len(np.unique(sample.labels)) < 2:
        return float("nan"), {}
    scores, flags = left_out(sample.features, sample.labels, groups)
    alone = sum(len(np.unique(groups[sample.labels == label])) == 1 for label in np.unique(sample.labels))
    return mean_dice(scores, sample.labels), flags | counted(one_group_classes=alone)
