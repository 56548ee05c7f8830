"""What the indicators on labelled embeddings share: their sample, the checks of arrays, and centring."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Context
from medtransfer.indicators.sampled import Flags, SampledIndicator
from medtransfer.indicators.samples.labelled_images import LabelledImages
from medtransfer.indicators.samples.labelled_pixels import LabelledPixels, Pixels, labelled_pixels
from medtransfer.records import LabelKind

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]
ROUNDING = 64 * np.finfo(np.float64).eps  # variation of a feature, as a share of its size, that is rounding


class LabelledIndicator(SampledIndicator[Pixels]):
    """Base class of indicators on a class-balanced sample of embeddings of one level.

    They are of labelled pixels, whose background is a class, or of labelled images. Where an image has several labels, the value
    is the mean over those of them for which it is defined.
    """

    needs: ClassVar[frozenset[str]] = LabelledPixels.needs
    labels: ClassVar[frozenset[LabelKind]] = frozenset({"pixels", "one", "several"})

    def sampler(self, context: Context) -> LabelledPixels | LabelledImages:
        """Return the sample of labelled pixels or images."""
        if context.labels != "several":
            return labelled_pixels(context)
        options = context.options
        return context.samples.share(LabelledImages, tuple(context.images), options.level, options.pixels, context.seed)

    def parts(self, sample: Pixels) -> list[Pixels]:
        """Return the sample for each label."""
        return sample.by_label()


def check_labelled(features: Numbers, labels: Labels, groups: Labels | None = None) -> None:
    """Refuse arrays that are no sample.

    Args:
        features: (N, D).
        labels: (N,).
        groups: (N,), if there are any.

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.
    """
    groups = labels if groups is None else groups
    if features.ndim != 2 or not labels.shape == groups.shape == features.shape[:1] or features.size == 0:
        raise ValueError(
            f"expected features (N, D), labels (N,) and groups (N,), if any, but got {features.shape}, {labels.shape} and "
            f"{groups.shape}"
        )
    if broken := int((~np.isfinite(features)).any(axis=1).sum()):
        raise ValueError(f"expected finite features, but got {broken} rows of {len(features)} with a NaN or an infinity")


def centred(features: Numbers) -> Numbers:
    """Subtract the mean (N, D); a feature that varies by no more than rounding becomes exactly zero."""
    moved = features - features.mean(axis=0)
    moved[:, np.abs(moved).max(axis=0) <= ROUNDING * np.abs(features).max(axis=0)] = 0.0
    return moved


def one_hot(labels: Labels) -> Numbers:
    """Return the members of each class, (N, C), in the order of the labels; only classes with a member count."""
    members: Numbers = (labels[:, None] == np.unique(labels)).astype(np.float64)
    return members


def counted(**flags: int) -> Flags:
    """Return flags without those that are zero."""
    return {name: int(number) for name, number in flags.items() if number}
