"""Tasks for tests: segmentation that is watched, and a second task that has neither masks nor Dice."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from medtransfer.data.epochs import Samples
from medtransfer.data.target_samples import TargetSamples
from medtransfer.decoders.segmenter import Segmenter
from medtransfer.encoders.contract import Encoder, Part
from medtransfer.metrics.evaluation import Evaluation
from medtransfer.records import PreparedTarget
from medtransfer.tasks.contract import NEUTRAL, Evaluator, LossOptions, Metric
from medtransfer.tasks.segmentation import Segmentation


class Watched(Segmentation):
    """Segmentation that notes what is done, and goes wrong where it is told to.

    Attributes:
        epochs: the epochs that are trained, in their order.
        weights: those of the model at each evaluation.
        interrupt_epoch: in whose first step KeyboardInterrupt is raised.
        interrupt_drawing: whether it is raised when overlays are drawn.
        factor: of the loss.
        spoil: whether every step changes the encoder, frozen or not.
        primary_values: results of the first evaluations.
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.weights: list[dict[str, Tensor]] = []
        self.interrupt_epoch: int | None = None
        self.interrupt_drawing = False
        self.factor = 1.0
        self.spoil = False
        self.primary_values: list[float] = []

    def samples(self, target: PreparedTarget, split: str, *, ten_crop: bool = False, **chosen: Any) -> Samples:
        return WatchedSamples(self.epochs, target, split, **chosen)

    def model(self, encoder: Encoder, *arguments: Any) -> Segmenter:
        self.built = super().model(encoder, *arguments)
        return self.built

    def loss(self, logits: Tensor, truth: Tensor, *chosen: Any, **options: Any) -> Tensor:
        if self.epochs[-1] == self.interrupt_epoch:
            raise KeyboardInterrupt
        if self.spoil:
            next(self.built.encoder.parameters()).data.add_(0.1)
        return self.factor * super().loss(logits, truth, *chosen, **options)

    def evaluator(
        self, class_names: Sequence[str], pixel_sizes: Mapping[str, tuple[float, float]] | None = None,
        regions: Mapping[str, Sequence[int]] | None = None, *, light: bool = False,
    ) -> Evaluator:  # fmt: skip
        self.weights.append({name: value.clone() for name, value in self.built.state_dict().items()})
        evaluator = super().evaluator(class_names, light=light)
        return Told(evaluator, self.primary_values.pop(0)) if self.primary_values else evaluator

    def draw(self, *arguments: Any) -> None:
        if self.interrupt_drawing:
            raise KeyboardInterrupt
        super().draw(*arguments)


class WatchedSamples(TargetSamples):
    """Samples that note their epochs."""

    def __init__(self, epochs: list[int], *arguments: Any, **chosen: Any) -> None:
        super().__init__(*arguments, **chosen)
        self.epochs = epochs

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)
        super().set_epoch(epoch)


class Told:
    """An evaluator whose Dice is what it is told."""

    def __init__(self, evaluator: Evaluator, dice: float) -> None:
        self.update, self.real, self.dice = evaluator.update, evaluator, dice

    def compute(self) -> Evaluation:
        evaluation = self.real.compute()
        return Evaluation({**evaluation.metrics, "dice": self.dice}, evaluation.per_sample)


class Presence:
    """Whether an image shows something large: 0 or 1 for each image in labels.npy, judged by the accuracy in percent."""

    labels_file: ClassVar[str] = "labels.npy"
    losses: ClassVar[tuple[str, ...]] = ("bce",)
    linear: ClassVar[bool] = False
    primary: ClassVar[Metric] = Metric("accuracy", "Accuracy", 0.0, 100.0, "share of right decisions in percent")

    def __init__(self) -> None:
        self.drawn: list[tuple[float, ...]] = []

    def weighted(self, classes: Sequence[str]) -> list[str]:
        return ["absence", "presence"]

    def check(self, target: PreparedTarget, splits: Collection[str]) -> list[str]:
        return []

    def samples(
        self, target: PreparedTarget, split: str, *, augment: bool, transforms: Any = None, ten_crop: bool = False, **contract: Any
    ) -> Samples:  # fmt: skip
        return PresenceSamples(target, split, **contract)

    def model(self, encoder: Encoder, *_: Any) -> Segmenter:
        return Segmenter(encoder, Head(encoder))

    def loss(
        self, logits: Tensor, truth: Tensor, name: str | None = None, options: LossOptions = NEUTRAL
    ) -> Tensor:  # fmt: skip
        return nn.functional.binary_cross_entropy_with_logits(logits, truth.float())

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def thresholds(self, classes: int) -> list[float]:
        return [0.5]

    def decide(self, probabilities: Tensor, thresholds: Sequence[float]) -> Tensor:
        return (probabilities > thresholds[0]).to(torch.uint8)

    def evaluator(
        self, class_names: Sequence[str], pixel_sizes: Mapping[str, tuple[float, float]] | None = None,
        regions: Mapping[str, Sequence[int]] | None = None, *, light: bool = False,
    ) -> Evaluator:  # fmt: skip
        return Accuracy()

    def count_predictions(self, evaluation: Evaluation) -> dict[str, int]:
        return {}

    def draw(
        self, path: Path, samples: Samples, evaluation: Evaluation, predict: Callable[[Tensor], Tensor],
        class_names: Sequence[str], number: int,
    ) -> None:  # fmt: skip
        self.drawn = [tuple(predict(samples[i][0][None]).tolist()) for i in range(number)]
        path.write_bytes(b"a picture")


class PresenceSamples(Samples):
    """Whole images with their label."""

    def __init__(self, target: PreparedTarget, split: str, *, mean: Sequence[float], std: Sequence[float], seed: int) -> None:
        super().__init__(seed)
        lines = target.samples(split)
        self.images = [f"image {number}" for number in lines["sample"]]
        self.groups = list(lines["group"])
        self.mean, self.std = tuple(mean), tuple(std)
        rows = lines["row"].to_numpy()
        self._pixels = np.array(target.images[rows])
        self._labels = np.load(target.folder / Presence.labels_file)[rows]

    def __getitem__(self, position: int) -> tuple[Tensor, int, int]:
        return torch.from_numpy(self._pixels[position]), int(self._labels[position]), position


class Head(Part):
    """One logit from the mean of the coarsest features, (N, C, h, w) -> (N,)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.initialisation = encoder.initialisation
        self.linear = nn.Linear(encoder.levels[-1].channels, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.linear(maps[-1].mean(dim=(2, 3))).squeeze(1)


class Accuracy:
    """The share of right decisions, in percent."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def update(self, probabilities: Tensor, truth: Tensor, images: Sequence[str], groups: Sequence[str]) -> None:
        right = ((probabilities > 0.5) == truth.bool()).tolist()
        values = zip(images, groups, right, strict=True)
        self.rows += [{"image": image, "group": group, "accuracy": 100.0 * hit} for image, group, hit in values]

    def compute(self) -> Evaluation:
        return Evaluation({"accuracy": float(torch.tensor([row["accuracy"] for row in self.rows]).mean())}, self.rows)
