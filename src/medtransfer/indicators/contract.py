"""Contract of an indicator: it starts on a set of images, receives the batches of one streamed pass, and returns scores."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.config import Section
from medtransfer.indicators.robustness.negatives import NegativePlan
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.records import LabelKind
from medtransfer.records.scores import Score, Setting

if TYPE_CHECKING:
    from torch import Tensor

    from medtransfer.encoders.contract import Encoder

NEEDS = ("views", "features", "labels", "source_probabilities", "images")  # what `Batch` can hold


@dataclass(frozen=True)
class ViewSettings:
    """Everything that scores depend on besides the encoder and the images: which images and pairs of views are compared.

    Attributes:
        split: `train`, `validation` or `test`.
        max_images: how many of its images, None for all.
        seed: seed of the choice of images, the views, the negatives and the draws of indicators.
        repeats: independent pairs of views.
        negative: a kind in NEGATIVES.
        precision: precision of the forward passes.
        features: images that `Batch.features` are of: `plain` ones, at the price of another forward pass, or the first `view`.
        blocks: parts that the groups of images are divided into for standard errors; 0 for none.
    """

    split: str
    max_images: int | None
    seed: int
    repeats: int
    negative: str
    precision: str
    features: str = "plain"
    blocks: int = 0


@dataclass(frozen=True)
class Options:
    """The settings at which indicators are computed.

    Attributes:
        robustness: default setting of robustness, whose value becomes the metric; label-based indicators use its level, too.
        margins: margins of the listed robustness values, ascending; the default margin is among them.
        pixels: most embeddings of a sample that an indicator is computed on.
        own: options of single indicators, by name, each of the class `Indicator.options`.
    """

    robustness: RobustnessSetting
    margins: tuple[float, ...]
    pixels: int
    own: Mapping[str, Section] = field(default_factory=dict, kw_only=True)

    @property
    def level(self) -> int:
        """Level of the encoder, counted from the end."""
        return self.robustness.level


@dataclass(frozen=True)
class Context:
    """Information that an indicator gets before the first batch.

    Attributes:
        images: ids, in the order of the positions in batches.
        groups: group of each image, such as its patient.
        classes: number of labels, background included.
        seed: seed of the indicator's draws.
        repeats: number of passes over the views of all images.
        plans: negative of each image, by repeat; empty if no indicator needs views.
        options: settings at which to compute.
        blocks: parts that the groups are divided into for standard errors; 0 for none.
        samples: samples that indicators share.
        without_head: why no batch provides `source_probabilities`; empty if they do where an indicator needs them.
        encoder: encoder of the pass, in eval mode, for gradients; None where only features are at hand.
        labels: kind of the labels, as `PreparedTarget.label_kind`; those of images have no background.
    """

    images: list[str]
    groups: list[str]
    classes: int
    seed: int
    repeats: int
    plans: tuple[NegativePlan, ...]
    options: Options
    blocks: int = 0
    samples: "Samples" = field(default_factory=lambda: Samples())
    without_head: str = ""
    encoder: "Encoder | None" = None
    labels: LabelKind = "pixels"


@dataclass(frozen=True)
class ViewMaps:
    """Feature maps of two jittered views.

    Attributes:
        repeat: index of the pair of views.
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
    """One step of the pass, with the parts that the requested indicators need.

    Attributes:
        positions: int64 (B,), positions of the images in `Context.images`.
        views: maps of jittered views, for the need `views`.
        features: one map (B, C, H, W) per level of the plain images, for the need `features`; in the first repeat only.
        labels: uint8 (B, H, W), or of whole images (B, 1, 1) or, of L labels each, (B, L, 1, 1), on the CPU, for the need
            `labels`; in the first repeat only.
        source_probabilities: of the source classes at each position of the last level, (B, Z, h, w), or (B, Z, 1, 1) of whole
            images where the labels are; for the need of this name, in the first repeat only, with `features`.
        images: the plain images, normalised (B, C, H, W), for the need `images`; in the first repeat only.
    """

    positions: NDArray[np.int64]
    views: ViewMaps | None = None
    features: "list[Tensor] | None" = None
    labels: "Tensor | None" = None
    source_probabilities: "Tensor | None" = None
    images: "Tensor | None" = None

    @property
    def provides(self) -> frozenset[str]:
        """Needs that the batch serves."""
        return frozenset(need for need in NEEDS if getattr(self, need) is not None)


@dataclass(frozen=True)
class Measured:
    """Result of a measurement.

    Attributes:
        images: ids, in the order of the last axis of the per-sample arrays.
        scores: one score per setting.
        per_sample: arrays that the scores are computed from; their names begin with the indicator's.
        notes: remarks for the reader.
    """

    images: list[str]
    scores: list[Score]
    per_sample: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def value(self, setting: Mapping[str, object]) -> float:
        """Return the score at a setting, NaN where it is not defined.

        Raises:
            KeyError: there is none.
        """
        return pick(self.scores, setting).number


class Sampler(Protocol):
    """Draws a sample of bounded size from the batches of one pass."""

    @property
    def needs(self) -> frozenset[str]:
        """Parts of a batch that it uses."""
        ...

    def update(self, batch: Batch) -> None:
        """Draw from a batch that provides what the sampler needs."""


S = TypeVar("S", bound=Sampler)


class Samples:
    """Samplers by key: indicators that ask for the same one share it, so that it is drawn once."""

    def __init__(self) -> None:
        """Start without samplers."""
        self._samplers: dict[Hashable, Any] = {}
        self._collected: dict[int, Any] = {}

    def share(self, make: Callable[..., S], *arguments: Hashable) -> S:
        """Return the sampler that `make(*arguments)` made before, or make it."""
        key = make, arguments
        if key not in self._samplers:
            self._samplers[key] = make(*arguments)
        sampler: S = self._samplers[key]
        return sampler

    def update(self, batch: Batch) -> None:
        """Pass a batch to every sampler whose needs it serves."""
        for sampler in self._samplers.values():
            if sampler.needs <= batch.provides:
                sampler.update(batch)

    def collect(self, sampler: Any) -> Any:
        """Return what a sampler collected; further calls return the same object."""
        if id(sampler) not in self._collected:
            self._collected[id(sampler)] = sampler.collect()
        return self._collected[id(sampler)]


class Measurement(Protocol):
    """Accumulates the batches of one pass; its memory grows with the number of samples only by a few numbers each."""

    def update(self, batch: Batch) -> None:
        """Add a batch that provides what the indicator needs."""

    def compute(self) -> Measured:
        """Return the scores of all batches."""


class Indicator(ABC):
    """An estimate, before any fine-tuning, of how well an encoder suits a target.

    Attributes:
        name: key in INDICATORS, and the name of its metric.
        needs: parts of a batch that it uses, out of NEEDS.
        higher_is_better: whether a higher value predicts a better model.
        bounds: lowest and highest possible value.
        labels: kinds of labels that serve where it needs any, as `PreparedTarget.label_kind`.
        within_width: whether values compare only between levels of the same number of channels.
        options: schema of its own options, `score.settings.<name>` of the params; the docstrings of the fields are the
            comments in params.yaml.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    higher_is_better: ClassVar[bool] = True
    labels: ClassVar[frozenset[LabelKind]] = frozenset({"pixels"})
    within_width: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    options: ClassVar[type[Section]] = Section

    @abstractmethod
    def begin(self, context: Context) -> Measurement:
        """Start a measurement."""

    @abstractmethod
    def metrics(self, options: Options) -> dict[str, Setting]:
        """Return the settings whose scores become metrics of the run, by metric name."""

    def watched(self, options: Options, mode: str) -> Setting:
        """Return the setting whose score is used for a mode of transfer."""
        return next(iter(self.metrics(options).values()))

    def replicates(self, measured: Measured, setting: Mapping[str, object]) -> list[float]:
        """Return the score at a setting without each block of images, for the errors of differences; empty if unknown.

        Args:
            measured: measurement of an encoder; those on the same images have the same blocks.
            setting: a setting of its scores.
        """
        return pick(measured.scores, setting).replicates

    def rescore(self, stored: Measured, options: Options) -> Measured | None:
        """Compute the scores at other options from a stored measurement; return None if the images must be passed again.

        Args:
            stored: measurement of the same checkpoint, images and `ViewSettings`.
            options: settings at which to compute.
        """
        settings = self.metrics(options).values()
        return stored if all(any(row.setting == setting for row in stored.scores) for setting in settings) else None


def pick(scores: Sequence[Score], setting: Mapping[str, object]) -> Score:
    """Return the score at a setting.

    Raises:
        KeyError: there is none.
    """
    for score in scores:
        if score.setting == setting:
            return score
    raise KeyError(f"there is no score at {dict(setting)}")
