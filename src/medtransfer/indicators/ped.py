"""PED: the posterior of the true class after the classes that overlap pushed each other apart."""

from typing import ClassVar

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.discriminant import class_means
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels
from medtransfer.indicators.sfda import sfda

STEPS = 6  # at most
DURATION = 0.1  # of a step
RADII = 0.6  # radii of a class up to which it reaches
ENOUGH = 0.5  # share of the first step's movement up to which steps are taken
LEAST = 1e-3  # deviation by which a feature is scaled


def ped(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute SFDA after potential energy descent.

    Each feature is divided by its standard deviation. The radius R of a class is the root of its total variance. Two classes
    whose means are d apart overlap by o = max(0, RADII (R + R') - d), and each step moves either by DURATION²/2 o, along the
    line between their means. Steps end when the sum of all movements is at most ENOUGH of the first.

    Args:
        features: finite (N, D); their scale matters, as to SFDA.
        labels: (N,), whole numbers.

    Returns:
        The score in [0, 1], NaN for fewer than two classes, and the flags of `sfda` and `overlapping_classes` (pairs at the
        start).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Li et al., Exploring Model Transferability through the Lens of Potential Energy, ICCV 2023, and its code, which
    scales by the mean and deviation of the encoder's features of ImageNet; here it is those of the target.
    """
    check_labelled(features, labels)
    y, moved = one_hot(labels), centred(features)
    scale = np.maximum(moved.std(axis=0), LEAST)
    x, first, overlapping = moved / scale, 0.0, 0
    for step in range(STEPS):
        shift, pairs = _push(x, y)
        movement = np.abs(shift).sum()
        if step == 0:
            first, overlapping = movement, pairs
        if movement <= ENOUGH * first:
            break
        x = x + y @ shift
    value, flags = sfda(x * scale, labels)
    return value, flags | counted(overlapping_classes=overlapping)


def _push(x: Numbers, y: Numbers) -> tuple[Numbers, int]:
    """Return the movement of each class (C, D), and the number of pairs that overlap; equal means push in no direction."""
    means = class_means(x, y)
    radii = np.sqrt((y.T @ np.square(x - y @ means) / y.sum(axis=0)[:, None]).sum(axis=1))  # (C,)
    between = means[:, None] - means  # (C, C, D)
    distances = np.linalg.norm(between, axis=2)
    overlaps = np.maximum(RADII * (radii[:, None] + radii) - distances, 0)
    np.fill_diagonal(overlaps, 0)
    shift = DURATION**2 / 2 * overlaps / np.where(distances > 0, distances, 1)
    return (shift[:, :, None] * between).sum(axis=1), int((overlaps > 0).sum()) // 2


class PED(LabelledIndicator):
    """PED of the labelled pixels or images."""

    name: ClassVar[str] = "ped"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute PED of the sample."""
        return ped(sample.features, sample.labels)
