"""Classification: labels of whole images, learned by a linear head on the encoder and judged by the AUC or kappa.

A target is `binary` (a label is true or false), `multilabel` (several such labels, each known, unknown or uncertain), `multiclass`
(one of C classes) or `ordinal` (one of C grades).
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medtransfer.errors import InputError
from medtransfer.records import LABELS_FILE
from medtransfer.tasks.contract import NEUTRAL, Evaluator, LossOptions, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from medtransfer.data.epochs import Samples
    from medtransfer.decoders.linear_head import ImageClassifier
    from medtransfer.encoders.contract import Encoder
    from medtransfer.metrics.evaluation import Evaluation
    from medtransfer.records import PreparedTarget

AUC = Metric("auc", "AUC", 0.0, 1.0, "how probable it is that an image with the label scores higher than one without", 0.5)
KAPPA = Metric("kappa", "kappa", -1.0, 1.0, "agreement of the grades beyond chance, with quadratic weights")


class _Classification:
    """What the four tasks share; logits and probabilities are (N, C), one column per entry of the target's `classes`.

    Attributes:
        exclusive: whether an image has exactly one of the classes.
    """

    labels_file: ClassVar[str] = LABELS_FILE
    primary: ClassVar[Metric] = AUC
    losses: ClassVar[tuple[str, ...]]
    linear: ClassVar[bool] = True
    single_label: ClassVar[bool] = True
    exclusive: ClassVar[bool]

    def weighted(self, classes: Sequence[str]) -> list[str]:
        """Return the classes."""
        return list(classes)

    def check(self, target: "PreparedTarget", splits: Collection[str]) -> list[str]:
        """Check that each split has images of more than one class, and return which classes it cannot judge."""
        from medtransfer.data.image_labels import read_labels, uncertain_rule
        from medtransfer.records import UNCERTAIN

        labels, classes, notes = read_labels(target), target.info.classes, []
        if self.exclusive and len(classes) < 2:
            raise InputError(f"expected two classes or more in {target.folder}, but got {', '.join(classes)}; prepare it as binary")
        if labels.ndim == 2 and (labels == UNCERTAIN).any():
            labels[labels == UNCERTAIN] = uncertain_rule(target).evaluated
        by_split = {split: labels[target.samples(split)["row"].to_numpy()] for split in sorted(splits)}
        undefined_in = {
            split: [name for c, name in enumerate(classes) if not self._both(own, c)] for split, own in by_split.items()
        }
        for split, undefined in undefined_in.items():
            if len(undefined) == len(classes):
                held = "another finetune.validation_seed or a larger finetune.validation" if target.held_out else "another split"
                held = "a larger finetune.size" if target.drawn is not None and split == "train" else held
                raise InputError(
                    f"expected images with and without a label among the {split} samples of {target.folder}, since the "
                    f"{self.primary.label} is undefined otherwise, but {self._same(by_split[split], classes)}; take {held}"
                )
            if undefined:
                effect = _untaught(undefined_in) if split == "train" else "their AUC is undefined, and left out of the mean"
                notes.append(f"in the {split} samples of {target.folder} all or none are {', '.join(undefined)}: {effect}")
        return notes

    def _same(self, labels: "np.ndarray", classes: Sequence[str]) -> str:
        """Say which labels all images have, none of which distinguishes them."""
        import numpy as np

        images = f"all {len(labels)}" if len(labels) != 1 else "the only one"
        if self.single_label:
            names = [name for label, name in enumerate(self.weighted(classes)) if (labels == label).any()]
            return f"{images} {'is' if len(labels) == 1 else 'are'} {', '.join(names)}"
        known = np.array([[(labels[:, c] == value).any() for c in range(len(classes))] for value in (0, 1)])  # (2, L)
        shown = [
            name if present else f"not {name}" for name, absent, present in zip(classes, *known, strict=True) if absent | present
        ]
        return f"{images} {'has' if len(labels) == 1 else 'have'} the same known labels ({', '.join(shown) or 'none'})"

    def _both(self, labels: "np.ndarray", c: int) -> bool:
        """Return whether some images have class c and others do not."""
        column = labels == c if self.exclusive else labels.reshape(len(labels), -1)[:, c]
        return bool((column == 1).any() and (column == 0).any())

    def shown(self, target: "PreparedTarget", split: str) -> "NDArray[np.bool_]":
        """Return which labels of each sample are true, (N, L), or which class it has, (N, C)."""
        import numpy as np

        labels = np.array(target.image_labels)[target.samples(split)["row"].to_numpy()]
        return labels[:, None] == np.arange(len(self.weighted(target.info.classes))) if labels.ndim == 1 else labels == 1

    def samples(
        self, target: "PreparedTarget", split: str, *, augment: bool, mean: Sequence[float], std: Sequence[float], seed: int,
        transforms: Sequence[Mapping[str, Any]] | None = None, ten_crop: bool = False,
    ) -> "Samples":  # fmt: skip
        """Open images and labels of a split."""
        from medtransfer.data.labelled_samples import LabelledSamples

        return LabelledSamples(
            target, split, augment=augment, mean=mean, std=std, seed=seed, transforms=transforms, ten_crop=ten_crop
        )

    def model(self, encoder: "Encoder", classes: int, decoder: str | None = None) -> "ImageClassifier":
        """Build a classifier: the encoder and a linear head on the mean of its coarsest map."""
        from medtransfer.decoders.linear_head import build_image_classifier

        return build_image_classifier(encoder, classes, decoder)

    def loss(
        self, logits: "Tensor", truth: "Tensor", name: str | None = None, options: LossOptions = NEUTRAL
    ) -> "Tensor":  # fmt: skip
        """Compute a loss over the batch: the cross-entropy by default."""
        from medtransfer.tasks.label_losses import LABEL_LOSSES

        return LABEL_LOSSES[name or self.losses[0]](logits, truth, options)

    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Apply a softmax over exclusive classes, else a sigmoid to each label."""
        return logits.softmax(1) if self.exclusive else logits.sigmoid()

    def thresholds(self, classes: int) -> list[float]:
        """Return the threshold of each label; of exclusive classes the highest probability wins."""
        from medtransfer.metrics.image_labels import THRESHOLD

        return [] if self.exclusive else [THRESHOLD] * classes

    def decide(self, probabilities: "Tensor", thresholds: Sequence[float]) -> "Tensor":
        """Return labels uint8 of probabilities (N, C): the class (N,), or whether each label is true (N, C)."""
        import torch

        if not thresholds:
            return probabilities.argmax(1).to(torch.uint8)
        return (probabilities > torch.tensor(thresholds, device=probabilities.device)).to(torch.uint8)

    def evaluator(
        self, class_names: Sequence[str], pixel_sizes: Mapping[str, tuple[float, float]] | None = None,
        regions: Mapping[str, Sequence[int]] | None = None, *, light: bool = False,
    ) -> Evaluator:  # fmt: skip
        """Start an evaluation, if `light` of the primary metric alone."""
        from medtransfer.metrics.image_labels import LabelEvaluation

        return LabelEvaluation(class_names, self.primary.name, exclusive=self.exclusive, light=light)

    def count_predictions(self, evaluation: "Evaluation") -> dict[str, int]:
        """Return which class is predicted most often, from 0 as in `weighted`, and count the images that truly have it or get it.

        Of several labels nothing is counted: an image without any is no failure.
        """
        from medtransfer.metrics.image_labels import THRESHOLD

        if not self.single_label:
            return {}
        if self.exclusive:
            pairs = [(row["true"], row["predicted"]) for row in evaluation.per_sample]
        else:
            pairs = [(row["true_class_0"], int(row["probability_class_0"] > THRESHOLD)) for row in evaluation.per_sample]
        ((commonest, number),) = Counter(predicted for _, predicted in pairs).most_common(1)
        true = sum(label == commonest for label, _ in pairs)
        return {"commonest_class": commonest, "truly_commonest": true, "predicted_commonest": number}

    def draw(
        self, path: Path, samples: "Samples", evaluation: "Evaluation", predict: "Callable[[Tensor], Tensor]",
        class_names: Sequence[str], number: int,
    ) -> None:  # fmt: skip
        """Draw pictures with their true and predicted labels."""
        from medtransfer.tasks.label_pictures import draw_labels

        draw_labels(path, samples, evaluation.per_sample, self.primary, class_names, number)


def _untaught(undefined_in: Mapping[str, Sequence[str]]) -> str:
    """Say that classes are not learned, and in which other splits they count in the mean AUC all the same.

    Args:
        undefined_in: classes of which all or none of a split's images are, by split.
    """
    untaught = undefined_in["train"]
    judged = {split: [name for name in untaught if name not in names] for split, names in undefined_in.items()}
    counts = [
        f"of the {split} samples" + f" ({', '.join(names)})" * (names != untaught) for split, names in judged.items() if names
    ]  # fmt: skip
    return "they are not learned" + (f", but count in the mean AUC {' and '.join(counts)}" if counts else "")


class Binary(_Classification):
    """One label, 0 or 1 (N,)."""

    losses: ClassVar[tuple[str, ...]] = ("bce", "focal")
    exclusive: ClassVar[bool] = False

    def weighted(self, classes: Sequence[str]) -> list[str]:
        """Return images without and with the label."""
        return [f"not {classes[0]}", classes[0]]

    def decide(self, probabilities: "Tensor", thresholds: Sequence[float]) -> "Tensor":
        """Return labels uint8 (N,) of probabilities (N, 1)."""
        return super().decide(probabilities, thresholds)[:, 0]


class Multilabel(_Classification):
    """Several labels, 0, 1, IGNORE where unknown or UNCERTAIN, (N, L)."""

    single_label: ClassVar[bool] = False
    losses: ClassVar[tuple[str, ...]] = ("bce",)
    exclusive: ClassVar[bool] = False


class Multiclass(_Classification):
    """One of C classes, 0..C - 1 (N,)."""

    losses: ClassVar[tuple[str, ...]] = ("ce", "focal")
    exclusive: ClassVar[bool] = True


class Ordinal(Multiclass):
    """One of C grades in their order, 0..C - 1 (N,)."""

    primary: ClassVar[Metric] = KAPPA
