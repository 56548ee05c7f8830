"""What an indicator is: it is told of a set of images, fed batches of one streamed pass, and returns scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.robustness.negatives import NegativePlan
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.records.scores import Score, Setting

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = ("views", "features", "labels")  # what `Batch` can hold


@dataclass(frozen=True)
class ViewSettings:
    """Which images and pairs of views are compared: everything that scores depend on, but the encoder and the images.

    Attributes:
        split: `train`, `validation` or `test`.
        max_images: how many images of it, None for all.
        seed: of the images, the views, the negatives and whatever indicators draw.
        repeats: independent pairs of views.
        negative: a kind in NEGATIVES.
        precision: of the forward passes.
    """

    split: str
    max_images: int | None
    seed: int
    repeats: int
    negative: str
    precision: str


@dataclass(frozen=True)
class Options:
    """The settings at which indicators are computed.

    Attributes:
        robustness: the setting whose value becomes the metric; its level is the one that label-based indicators look at.
        margins: at which robustness is listed, ascending; the default one is among them.
        pixels: most pixel embeddings that a label-based indicator looks at.
    """

    robustness: RobustnessSetting
    margins: tuple[float, ...]
    pixels: int

    @property
    def level(self) -> int:
        """Level of the encoder, counted from the end."""
        return self.robustness.level


@dataclass(frozen=True)
class Context:
    """What is known before the first batch.

    Attributes:
        images: ids, in the order of the positions in batches.
        classes: number of labels, background included.
        seed: of whatever an indicator draws.
        repeats: how many times the views of all images are passed.
        plan: which image is the negative of which; None where nothing needs views.
        options: at which settings to compute.
    """

    images: list[str]
    classes: int
    seed: int
    repeats: int
    plan: NegativePlan | None
    options: Options


@dataclass(frozen=True)
class ViewMaps:
    """Feature maps of two jittered views.

    Attributes:
        repeat: which of the independent pairs of views.
        queries: one map (B, C, H, W) per level, of the first views.
        keys: one map (K, C, H, W) per level, K >= B, of the second views; row i is the positive of query i.
        negative: int64 (B,) on the CPU, the row of `keys` that is each query's negative.
    """

    repeat: int
    queries: "list[Tensor]"
    keys: "list[Tensor]"
    negative: "Tensor"


@dataclass(frozen=True)
class Batch:
    """One step of the pass; it holds what the indicators asked for need, and each measurement gets those with its needs.

    Attributes:
        positions: int64 (B,), which images these are.
        views: maps of jittered views, for `views`.
        features: one map (B, C, H, W) per level of the images themselves, for `features`; in the first repeat only.
        labels: uint8 (B, H, W) on the CPU, for `labels`; in the first repeat only.
    """

    positions: NDArray[np.int64]
    views: ViewMaps | None = None
    features: "list[Tensor] | None" = None
    labels: "Tensor | None" = None

    @property
    def provides(self) -> frozenset[str]:
        """Which needs it serves."""
        return frozenset(need for need in NEEDS if getattr(self, need) is not None)


@dataclass(frozen=True)
class Measured:
    """What an indicator found.

    Attributes:
        images: ids, in the order of the last axis of the per-sample arrays.
        scores: one per setting.
        per_sample: arrays that the scores follow from, by names that begin with the indicator's.
        notes: what a reader should know.
    """

    images: list[str]
    scores: list[Score]
    per_sample: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def value(self, setting: Mapping[str, object]) -> float:
        """Return the score at a setting; a KeyError where there is none."""
        return pick(self.scores, setting).value


class Measurement(Protocol):
    """Accumulates the batches of one pass; what it keeps does not grow with the pass but for numbers per sample."""

    def update(self, batch: Batch) -> None:
        """Take a batch that provides what the indicator needs."""

    def compute(self) -> Measured:
        """Return the scores of all batches."""


class Indicator(ABC):
    """A number that says, before any fine-tuning, how well an encoder suits a target.

    Attributes:
        name: key in INDICATORS, and the name of its metric.
        needs: which parts of a batch it looks at, out of NEEDS.
        higher_is_better: whether a higher value promises a better model.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def begin(self, context: Context) -> Measurement:
        """Start a measurement."""

    @abstractmethod
    def metrics(self, options: Options) -> dict[str, Setting]:
        """Return the settings whose scores become metrics of the run, by metric name."""

    def watched(self, options: Options, mode: str) -> Setting:
        """Return the setting whose score serves a mode of fine-tuning."""
        return next(iter(self.metrics(options).values()))

    def rescore(self, stored: Measured, options: Options) -> Measured | None:
        """Return the scores at other options from what a measurement stored; None where the images must be passed again.

        Args:
            stored: of the same checkpoint, images and `ViewSettings`.
            options: at which settings to compute.
        """
        wanted = self.metrics(options).values()
        return stored if all(any(row.setting == setting for row in stored.scores) for setting in wanted) else None


def pick(scores: Sequence[Score], setting: Mapping[str, object]) -> Score:
    """Return the score at a setting; a KeyError where there is none."""
    for score in scores:
        if score.setting == setting:
            return score
    raise KeyError(f"there is no score at {dict(setting)}")
