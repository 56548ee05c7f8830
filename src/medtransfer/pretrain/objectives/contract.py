"""Contract of an objective: what a pretraining learns, from which images, and what is measured on the validation images.

To add one, write its class in a file here, its schema in config/schema/, and one line in ORIGINS; trainer, loop, stopping rule
and records are the same for all. tests/pretrain/origins covers every entry.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Generator, Tensor, nn

from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.source_head import NoHead, SourceHead
from medtransfer.pretrain.recipe import Recipe
from medtransfer.training.checkpoints import NO_CLASSES
from medtransfer.training.fabric import Fabric

VALIDATION_LOSS = "val_loss"


class Images(Protocol):
    """Images of one split; item i and its random numbers depend on (seed, epoch, i) only."""

    def __len__(self) -> int:
        """Count the images."""

    def __getitem__(self, index: int, /) -> Any:
        """Return one item, of which a batch is collated."""

    def set_epoch(self, epoch: int, /) -> None:
        """Set the epoch of the next items."""


class Objective:
    """Base class of objectives, one instance per pretraining; a subclass writes `open`, `build`, `inputs` and `loss`.

    Attributes:
        parts: parts of the model, its children, which the checkpoints hold; `encoder` is the first.
        least_images: images that the loss of a micro-batch needs.
        terms: names of the parts of the loss, each a curve `train_<term>`.
        recipe: recipe of the pretraining.
        images: images of the splits `train` and `val`.
        classes: names of the outputs of a classification head; empty without one.
    """

    parts: ClassVar[tuple[str, ...]]
    least_images: ClassVar[int] = 1
    terms: tuple[str, ...] = ()
    classes: Sequence[str] = ()

    def __init__(self, recipe: Recipe, images: Mapping[str, Any]) -> None:
        self.recipe, self.images = recipe, images

    @classmethod
    def open(cls, root: Path, recipe: Recipe) -> Self:
        """Open the images of a source.

        Args:
            root: folder of the source.
            recipe: recipe of the pretraining.

        Raises:
            InputError: there are no such images, or the objective cannot be learned from them.
        """
        raise NotImplementedError(f"{cls.__name__} reads no images")

    @property
    def recorded(self) -> str:
        """Name of the measured value that checkpoints record."""
        return VALIDATION_LOSS

    @property
    def accuracy(self) -> str | None:
        """Name of the measured value that is an accuracy on the source, in [0, 1]; None if there is none."""
        return None

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the values that `measure` returns."""
        return (VALIDATION_LOSS, *(f"val_{term}" for term in self.terms))

    @property
    def curves(self) -> tuple[str, ...]:
        """Names of all curves of a training."""
        return ("train_loss", *(f"train_{term}" for term in self.terms), "lr", *self.measured)

    def build(self, encoder: Encoder) -> nn.Module:
        """Build the model on an encoder: a module whose children are the parts, with the `initialisation` of the encoder."""
        raise NotImplementedError(f"{type(self).__name__} builds no model")

    def inputs(self, fabric: Fabric, batch: Any, generator: Generator | None) -> tuple[Tensor, Any]:
        """Move a micro-batch to the device and make the model's input of it.

        Args:
            fabric: fabric of the training.
            batch: collated items.
            generator: source of the random numbers of a training batch, on the CPU; None for validation images.

        Returns:
            Input of the model (N, 3, H, W), and what `loss` compares its output with.
        """
        raise NotImplementedError(f"{type(self).__name__} makes no inputs")

    def loss(self, outputs: Any, targets: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a micro-batch, a scalar, and its `terms`."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    @torch.no_grad()
    def measure(self, fabric: Fabric, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        """Return the mean loss and terms over the validation images of all devices; the model is left in eval mode."""
        model.eval()
        sums = torch.zeros(2 + len(self.terms), device=fabric.device)  # of images, of their losses and of the terms
        for batch in batches:
            inputs, targets = self.inputs(fabric, batch, None)
            with fabric.autocast():
                outputs = model(inputs)
            loss, terms = self.loss(outputs, targets)
            weight = len(batch[0]) if isinstance(batch, list | tuple) else len(batch)
            sums += weight * torch.stack([torch.ones_like(loss), loss, *(terms[term] for term in self.terms)])
        count, *totals = fabric.all_reduce(sums, reduce_op="sum").tolist()  # type: ignore[union-attr]
        return dict(zip(self.measured, (total / count for total in totals), strict=True))

    def source_head(self, model: nn.Module) -> SourceHead | NoHead:
        """Return the classifier of the source classes of a model."""
        return NoHead(NO_CLASSES)

    def draw(self, path: Path, fabric: Fabric, model: nn.Module) -> None:
        """Draw what the model makes of some validation images; nothing where there is nothing to see.

        Args:
            path: path of the PNG.
            fabric: fabric of the training.
            model: model in eval mode, on the device.
        """
