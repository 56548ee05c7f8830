"""Contract of a task: the labels of a target, the model and loss that learn them, and the metrics.

To add a task, write one such class and add one line to `TASKS`; tests/tasks covers every entry. Its module imports heavy
libraries inside its methods, so that names of tasks can be checked before they are loaded.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from medtransfer.metrics.ties import rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from medtransfer.data.epochs import Samples
    from medtransfer.encoders.contract import Encoder
    from medtransfer.metrics.evaluation import Evaluation
    from medtransfer.records import PreparedTarget


@dataclass(frozen=True)
class Metric:
    """The metric that models of a task are compared by; higher is better.

    Attributes:
        name: name in results and in the tracking store.
        label: name in texts.
        low: its lowest value.
        high: its highest.
        meaning: what it measures, for people.
        chance: its value for models that learned nothing.
    """

    name: str
    label: str
    low: float
    high: float
    meaning: str
    chance: float = 0.0

    def floor(self, least: float) -> float:
        """Return the value up to which models learned nothing: the share `least` of the way from chance to the highest value."""
        return self.chance + least * (self.high - self.chance)

    def constant(self, split: str) -> str:
        """Return the name, in results, of its value on a split for the best prediction that is the same everywhere."""
        return f"{split}_constant_{self.name}"

    def is_poor(self, value: float, constant: float) -> bool:
        """Return whether a value is no better than that of a constant prediction, which is not perfect itself."""
        return rounded(value) <= rounded(constant) and constant < self.high

    def clip(self, value: float) -> float:
        """Return a value, or the end of the metric's range that it lies beyond; NaN stays."""
        return value if isnan(value) else min(max(value, self.low), self.high)


@dataclass(frozen=True)
class LossOptions:
    """Options of the losses; each loss uses those that concern it.

    Attributes:
        class_weights: weight of each of `Task.weighted`; None: all alike.
        focal_gamma: exponent of the focal loss.
        tversky_alpha: weight of false positives in the Tversky loss.
        tversky_beta: weight of false negatives.
        label_smoothing: share of a label's target that is spread over the others.
    """

    class_weights: Sequence[float] | None
    focal_gamma: float
    tversky_alpha: float
    tversky_beta: float
    label_smoothing: float = 0.0


NEUTRAL = LossOptions(None, 0.0, 0.5, 0.5)  # focal is the cross-entropy then, and Tversky a Dice without squares


def shared_label(metrics: Iterable[Metric]) -> str:
    """Return the label of metrics that are the same; `metric` where there are several, or none."""
    labels = {metric.label for metric in metrics}
    return labels.pop() if len(labels) == 1 else "metric"


def lowest_tis(metrics: Iterable[Metric]) -> float:
    """Return the lowest TIS by metrics: 0, but none where outcomes may be negative, whose ratio to the best has no end."""
    return 0.0 if all(metric.low >= 0 for metric in metrics) else -inf


class Evaluator(Protocol):
    """Metrics of a stream of predictions; every value is finite, also for empty labels."""

    def update(self, probabilities: "Tensor", truth: "Tensor", images: Sequence[str], groups: Sequence[str]) -> None:
        """Add a batch.

        Args:
            probabilities: as `Task.probabilities` returns them, on any device.
            truth: the batch's labels.
            images: an identifier of each sample, never seen before.
            groups: the group of each sample.
        """

    def compute(self) -> "Evaluation":
        """Compute all metrics of the samples so far."""


class Task(Protocol):
    """A kind of target.

    Attributes:
        labels_file: array of the labels in a prepared target.
        primary: the metric that models are compared by.
        losses: names of its losses, the default first.
        linear: whether its models have a linear head on pooled features, which can be solved for.
        single_label: whether an image shows exactly one of the classes.
    """

    labels_file: ClassVar[str]
    primary: ClassVar[Metric]
    losses: ClassVar[tuple[str, ...]]
    linear: ClassVar[bool]
    single_label: ClassVar[bool]

    def weighted(self, classes: Sequence[str]) -> list[str]:
        """Return what `class_weights` are the weights of, for messages."""

    def check(self, target: "PreparedTarget", splits: Collection[str]) -> list[str]:
        """Check that the labels of some splits can be learned and judged, before any work.

        Args:
            target: the prepared target.
            splits: `train` and those that models are evaluated on.

        Returns:
            What the user should know, one sentence each.

        Raises:
            InputError: a label is unknown, or the primary metric is undefined in a split.
        """

    def shown(self, target: "PreparedTarget", split: str) -> "NDArray[np.bool_]":
        """Return which classes each sample of a split shows, (N, C); for `single_label`, one column per entry of `weighted`."""

    def samples(
        self, target: "PreparedTarget", split: str, *, augment: bool, mean: Sequence[float], std: Sequence[float], seed: int,
        transforms: Sequence[Mapping[str, Any]] | None = None, ten_crop: bool = False,
    ) -> "Samples":  # fmt: skip
        """Open the samples of a split.

        Args:
            target: the prepared target; its arrays stay on disk.
            split: `train`, `validation` or `test`.
            augment: whether to augment.
            mean: mean of the normalisation, per channel, in [0, 1] units.
            std: standard deviation of the normalisation, likewise.
            seed: seed of the augmentation.
            transforms: albumentations transforms to augment by; None: the target's augmentation.
            ten_crop: whether each image is ten crops (10, H, W, C), whose mean prediction counts.

        Raises:
            InputError: the split is empty or broken, or the augmentation or the ten crops cannot be used.
        """

    def model(self, encoder: "Encoder", classes: int, decoder: str | None = None) -> "nn.Module":
        """Build a model on an encoder.

        Args:
            encoder: its feature maps are the input of the decoder.
            classes: number of classes, without the background.
            decoder: key of DECODERS; None for the encoder's own.

        Returns:
            A model of images (N, 3, H, W) with the parts `encoder` and `decoder`, each a `Part`, the second not yet initialised.
        """

    def loss(
        self, logits: "Tensor", truth: "Tensor", name: str | None = None, options: LossOptions = NEUTRAL
    ) -> "Tensor":  # fmt: skip
        """Compute the training loss of a batch, a scalar: the named one, or the default."""

    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Convert logits to probabilities of the same shape."""

    def thresholds(self, classes: int) -> list[float]:
        """Return the probabilities above which a class is decided for; empty where the highest wins."""

    def decide(self, probabilities: "Tensor", thresholds: Sequence[float]) -> "Tensor":
        """Return the labels that probabilities (N, ...) mean, in the form of the task's labels file."""

    def evaluator(
        self, class_names: Sequence[str], pixel_sizes: Mapping[str, tuple[float, float]] | None = None,
        regions: Mapping[str, Sequence[int]] | None = None, *, light: bool = False,
    ) -> Evaluator:  # fmt: skip
        """Start an evaluation.

        Args:
            class_names: names of the classes.
            pixel_sizes: (height, width) of a pixel of each image by its identifier, mm; None or empty if they are unknown.
            regions: class numbers of each region by its name; None or empty if there are none.
            light: whether what costs little is enough, the primary metric among it.
        """

    def count_predictions(self, evaluation: "Evaluation") -> dict[str, int]:
        """Return counts of samples that show whether a model predicts the same for all, each with the end of its metric's name."""

    def draw(
        self, path: Path, samples: "Samples", evaluation: "Evaluation", predict: "Callable[[Tensor], Tensor]",
        class_names: Sequence[str], number: int,
    ) -> None:  # fmt: skip
        """Draw predictions beside the truth, from the lowest to the highest value of the primary metric.

        Args:
            path: path of the PNG.
            samples: samples without augmentation.
            evaluation: evaluation of the same samples, in their order.
            predict: returns the probabilities of pixels (N, H, W, C), as samples have them, on the CPU.
            class_names: names of the classes.
            number: number of samples to draw.
        """
