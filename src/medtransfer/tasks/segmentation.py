"""Segmentation: a class for every pixel, learned with the Dice loss (A.2) and judged by the Dice of the test set (A.3)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medtransfer.errors import InputError
from medtransfer.records import MASKS_FILE
from medtransfer.tasks.contract import NEUTRAL, Evaluator, LossOptions, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from medtransfer.data.epochs import Samples
    from medtransfer.decoders.segmenter import Segmenter
    from medtransfer.encoders.contract import Encoder
    from medtransfer.metrics.evaluation import Evaluation
    from medtransfer.records import PreparedTarget


class Segmentation:
    """Masks (N, H, W): 0 is background, c the c-th class.

    Logits and probabilities are (N, 1, H, W) for one class, else (N, classes + 1, H, W) with the background first.
    """

    labels_file: ClassVar[str] = MASKS_FILE
    losses: ClassVar[tuple[str, ...]] = ("dice", "soft-dice", "ce", "dice-ce", "focal", "dice-focal", "tversky")
    linear: ClassVar[bool] = False
    single_label: ClassVar[bool] = False
    primary: ClassVar[Metric] = Metric("dice", "Dice", 0.0, 1.0, "overlap of the predicted and the true mask")

    def weighted(self, classes: Sequence[str]) -> list[str]:
        """Return the background and the classes."""
        return ["the background", *classes]

    def check(self, target: "PreparedTarget", splits: Collection[str]) -> list[str]:
        """Check nothing: every mask can be learned, and the Dice is defined for all of them."""
        return []

    def shown(self, target: "PreparedTarget", split: str) -> "NDArray[np.bool_]":
        """Return which classes the mask of each sample has, (N, C)."""
        import numpy as np

        from medtransfer.data.windows import Windows

        windows, classes = Windows(target, split), len(target.info.classes)
        counts = [np.bincount(windows.mask(position).ravel(), minlength=classes + 1) for position in range(len(windows))]
        return np.array([count[1 : classes + 1] > 0 for count in counts])

    def samples(
        self, target: "PreparedTarget", split: str, *, augment: bool, mean: Sequence[float], std: Sequence[float], seed: int,
        transforms: Sequence[Mapping[str, Any]] | None = None, ten_crop: bool = False,
    ) -> "Samples":  # fmt: skip
        """Open images and masks of a split."""
        from medtransfer.data.target_samples import TargetSamples

        if ten_crop:
            raise InputError("expected finetune.ten_crop false for masks, since crops are for labels of images; set it to false")
        return TargetSamples(target, split, augment=augment, mean=mean, std=std, seed=seed, transforms=transforms)

    def model(self, encoder: "Encoder", classes: int, decoder: str | None = None) -> "Segmenter":
        """Build a segmenter: the encoder and a decoder, by default the encoder's own."""
        from medtransfer.decoders.build import build_segmenter

        return build_segmenter(encoder, classes, decoder)

    def loss(
        self, logits: "Tensor", truth: "Tensor", name: str | None = None, options: LossOptions = NEUTRAL
    ) -> "Tensor":  # fmt: skip
        """Compute a loss over the batch: the Dice loss by default; with `dice-ce` plus the cross-entropy, as in nnU-Net."""
        from medtransfer.tasks.losses import LOSSES

        return LOSSES[name or self.losses[0]](logits, truth, options)

    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Apply a sigmoid for one class, else a softmax over background and classes."""
        return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)

    def thresholds(self, classes: int) -> list[float]:
        """Return the threshold of a single class; of several the highest probability wins."""
        from medtransfer.metrics.segmentation import THRESHOLD

        return [THRESHOLD] if classes == 1 else []

    def decide(self, probabilities: "Tensor", thresholds: Sequence[float]) -> "Tensor":
        """Return labels uint8 (N, H, W) of probabilities (N, K, H, W)."""
        import torch

        from medtransfer.metrics.overlap import most_probable

        return (probabilities[:, 0] > thresholds[0]).to(torch.uint8) if thresholds else most_probable(probabilities)

    def evaluator(
        self, class_names: Sequence[str], pixel_sizes: Mapping[str, tuple[float, float]] | None = None,
        regions: Mapping[str, Sequence[int]] | None = None, *, light: bool = False,
    ) -> Evaluator:  # fmt: skip
        """Start the evaluation of A.3 and A.5, if `light` without average precision and HD95."""
        from medtransfer.metrics.segmentation import SegmentationEvaluation

        return SegmentationEvaluation(len(class_names), class_names, pixel_sizes, regions, light=light)

    def count_predictions(self, evaluation: "Evaluation") -> dict[str, int]:
        """Count the images whose true mask is empty, and those whose predicted mask is."""
        true, predicted = (
            [sum(pixels for name, pixels in row.items() if name.startswith(cells)) for row in evaluation.per_sample]
            for cells in (("tp_class_", "fn_class_"), ("tp_class_", "fp_class_"))
        )
        return {"truly_empty": true.count(0), "predicted_empty": predicted.count(0)}

    def draw(
        self, path: Path, samples: "Samples", evaluation: "Evaluation", predict: "Callable[[Tensor], Tensor]",
        class_names: Sequence[str], number: int,
    ) -> None:  # fmt: skip
        """Draw image, truth and prediction side by side."""
        from medtransfer.tasks.overlays import draw_overlays

        draw_overlays(path, samples, evaluation.per_sample, self.primary, predict, class_names, number)
