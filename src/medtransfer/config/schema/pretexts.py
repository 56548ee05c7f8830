"""Origins that learn something else than the classes of whole images."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from medtransfer.config.schema.trained import TrainedOrigin
from medtransfer.config.schema.values import Name, OpenShare, Pixels, Place, Rate

Share = Annotated[Rate, Field(le=1)]


class PretextOrigin(TrainedOrigin):
    """Optimiser, schedule and input of a pretext task."""

    optimiser: Literal["adamw", "lars"]
    """optimiser; lars: of SGD with momentum and a rate per layer, for large batches (You et al. 2017)"""
    schedule: Literal["cosine", "constant"]
    """how the learning rate falls after the warm-up; cosine: to 0 along half a cosine | constant: not at all"""
    lr: Rate | None
    """learning rate as it is; null: pretrain.lr, scaled linearly to batch_size"""
    normalise: bool
    """whether images are normalised by ImageNet's mean and standard deviation; false: they are in [0, 1]"""
    source: Name | None
    """name of its source dataset; null: pretrain.source"""
    source_root: Place | None
    """folder of its source; null: pretrain.source_root"""

    @property
    def has_decoder(self) -> bool:
        """Whether its checkpoints hold a decoder."""
        return "decoder" in type(self).model_fields

    @property
    def options(self) -> dict[str, Any]:
        """Kind and options of the pretext task alone."""
        return self.model_dump(mode="json", exclude=set(PretextOrigin.model_fields))


class SimCLROrigin(PretextOrigin):
    """Contrast of two views of each image."""

    kind: Literal["simclr"]
    """trained to tell the views of an image from those of others"""
    temperature: Rate
    """temperature of the contrastive loss"""
    smallest_crop: Share
    """smallest share of an image's area in a view"""


def _different(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("must name each head once")
    return value


Heads = Annotated[
    tuple[Literal["plain", "original", "mask", "visible"], ...], Field(min_length=1), AfterValidator(_different)
]  # fmt: skip


class ReconstructionOrigin(PretextOrigin):
    """Reconstruction of masked views."""

    kind: Literal["reconstruction"]
    """trained to reconstruct masked views"""
    heads: Heads
    """targets; plain: the view | original: in the image's colours | mask: masked pixels | visible: masked black"""
    weight: Rate
    """weight of the mean squared error, the mean over the heads"""
    decoder: Name | None
    """decoder of the model; null: the encoder's own"""
    smallest_crop: Share
    """smallest share of an image's area in a view"""


class ConRecOrigin(PretextOrigin):
    """Contrast and reconstruction of masked views at once."""

    kind: Literal["conrec"]
    """trained by contrast and reconstruction of masked views"""
    temperature: Rate
    """temperature of the contrastive loss"""
    heads: Heads
    """targets of the reconstruction, as of the kind reconstruction"""
    weight: Rate
    """weight of the mean squared error beside the contrastive loss"""
    decoder: Name | None
    """decoder of the model; null: the encoder's own"""
    smallest_crop: Share
    """smallest share of an image's area in a view"""


class SegmentationOrigin(PretextOrigin):
    """Segmentation of a prepared target, which is the source."""

    kind: Literal["segmentation"]
    """trained to segment the source, a prepared target"""
    decoder: Name | None
    """decoder of the model; null: the encoder's own"""
    loss: Name | None
    """training loss, as finetune.loss; null: the Dice loss"""


class ClassificationOrigin(PretextOrigin):
    """Classification of labelled images with the optimiser, schedule and input of the other pretext tasks."""

    kind: Literal["classification"]
    """trained to classify the labelled source images, cropped and flipped alone"""


class MaskedOrigin(PretextOrigin):
    """Reconstruction of masked patches."""

    kind: Literal["masked"]
    """trained to reconstruct masked patches"""
    patch: Pixels
    """side of a patch, in pixels, which divides pretrain.size"""
    ratio: OpenShare
    """share of the patches that is masked"""
    decoder: Name | None
    """decoder of the model; null: the encoder's own"""
    smallest_crop: Share
    """smallest share of an image's area in a crop"""
