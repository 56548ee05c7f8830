"""LEEP and NCE: how well the classes that a source head predicts tell the target's labels."""

import math
from typing import ClassVar

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import Labels, Numbers, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags, SampledIndicator
from medtransfer.indicators.samples.labelled_pixels import Pixels
from medtransfer.indicators.samples.source_pixels import SourcePixels, source_pixels
from medtransfer.records import LabelKind

ROUNDING = 1e-3  # by which the probabilities of a sample may miss 1


def leep(probabilities: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute mean ln sum_z P(y | z) p_z, with P(y, z) the mean of p_z over the samples of label y.

    Args:
        probabilities: p, of the source classes z, (N, Z).
        labels: y, (N,), whole numbers.

    Returns:
        The score, at most 0, and flags: `empty_source_classes` (without any mass; they contribute nothing).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a row is no distribution.

    Source: Nguyen et al., LEEP: A New Measure to Evaluate Transferability of Learned Representations, ICML 2020.
    """
    _check(probabilities, labels)
    joint = one_hot(labels).T @ probabilities / len(labels)  # (C, Z)
    mass = joint.sum(axis=0)
    conditional = joint / np.where(mass > 0, mass, 1)
    own = conditional[np.unique(labels, return_inverse=True)[1]]  # (N, Z)
    return float(np.log((own * probabilities).sum(axis=1)).mean()), counted(empty_source_classes=(mass == 0).sum())


def nce(probabilities: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute minus the conditional entropy of the labels given the most probable source class, in nats.

    Args:
        probabilities: of the source classes, (N, Z); the lowest class wins a tie.
        labels: (N,), whole numbers.

    Returns:
        The score, at most 0, and flags: `empty_source_classes` (most probable for no sample).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a row is no distribution.

    Source: Tran, Nguyen, Hassner, Transferability and Hardness of Supervised Classification Tasks, ICCV 2019.
    """
    _check(probabilities, labels)
    chosen = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    joint = one_hot(labels).T @ chosen / len(labels)  # (C, Z)
    mass = joint.sum(axis=0)
    ratio = np.where(joint > 0, joint, 1) / np.where(joint > 0, mass, 1)
    return float((joint * np.log(ratio)).sum()), counted(empty_source_classes=(mass == 0).sum())


def _check(probabilities: Numbers, labels: Labels) -> None:
    check_labelled(probabilities, labels)
    broken = (probabilities < 0).any(axis=1) | (np.abs(probabilities.sum(axis=1) - 1) > ROUNDING)
    if broken.any():
        raise ValueError(
            f"expected rows of probabilities, none negative and summing to 1, but got {int(broken.sum())} of {len(broken)} rows "
            f"that are not; take the softmax of logits, and pass probabilities before labels"
        )


class SourceIndicator(SampledIndicator[Pixels]):
    """Base class of indicators on what the source head predicts of labelled pixels, whose background is a class, or images."""

    needs: ClassVar[frozenset[str]] = SourcePixels.needs
    labels: ClassVar[frozenset[LabelKind]] = frozenset({"pixels", "one"})
    bounds: ClassVar[tuple[float, float]] = (-math.inf, 0.0)

    def sampler(self, context: Context) -> SourcePixels:
        """Return the sample of probabilities."""
        return source_pixels(context)


class LEEP(SourceIndicator):
    """LEEP of the labelled pixels or images."""

    name: ClassVar[str] = "leep"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute LEEP of the sample; of one class it is not defined, although the sum would be 0, the highest value."""
        return leep(sample.features, sample.labels) if len(np.unique(sample.labels)) > 1 else (math.nan, {})


class NCE(SourceIndicator):
    """NCE of the labelled pixels or images."""

    name: ClassVar[str] = "nce"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute NCE of the sample; of one class it is not defined, as LEEP."""
        return nce(sample.features, sample.labels) if len(np.unique(sample.labels)) > 1 else (math.nan, {})
