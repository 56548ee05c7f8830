"""Encoders, and where their weights come from."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Tag, model_validator

from medtransfer.config.schema.pretexts import (
    ClassificationOrigin,
    ConRecOrigin,
    MaskedOrigin,
    ReconstructionOrigin,
    SegmentationOrigin,
    SimCLROrigin,
)
from medtransfer.config.schema.trained import TrainedOrigin
from medtransfer.config.schema.values import (
    FilesByEpoch,
    Name,
    NonNegative,
    OneOrMap,
    Out,
    Pixels,
    Place,
    Positive,
    Probability,
    Real,
    Section,
)


class EncoderSpec(Section):
    """One configured encoder: the architecture to build; every other key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")

    build: Name
    """architecture to build"""

    @model_validator(mode="after")
    def _is_of_colour(self) -> "EncoderSpec":
        if "in_channels" in self.arguments:
            raise ValueError(
                "no argument in_channels: encoders are pretrained on three channels, and adapted to the channels of each target; "
                "remove it"
            )
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """Constructor arguments; the architecture has defaults for the others."""
        return dict(self.model_extra or {})


class RandAugment(Section):
    """RandAugment: random operations of the same magnitude."""

    ops: Positive
    """operations per image"""
    magnitude: NonNegative
    """magnitude of the operations, at most `scale`"""
    scale: Positive
    """magnitude of a rotation by 30 degrees: 30 in torchvision, 10 in timm"""

    @model_validator(mode="after")
    def _check_magnitude(self) -> "RandAugment":
        if self.magnitude > self.scale:
            raise ValueError(f"magnitude must not exceed the scale, {self.scale}")
        return self


def _no_true(value: Any) -> Any:
    if value is True:
        raise ValueError("must be false, or say how much: {ops: 2, magnitude: 9, scale: 30}")
    return value


RandAugmentOption = Annotated[
    Annotated[Literal[False], Tag("one")] | Annotated[RandAugment, Tag("map")], OneOrMap, BeforeValidator(_no_true)
]


class LabelledOrigin(TrainedOrigin):
    """Classification of labelled images, and their augmentation."""

    randaugment: RandAugmentOption
    """RandAugment of the images, or false"""
    cutmix: Probability
    """probability of CutMix"""
    mixup: Probability
    """probability of mixup"""
    erasing: Probability
    """probability of random erasing"""

    @model_validator(mode="after")
    def _check_mixing(self) -> "LabelledOrigin":
        if self.cutmix + self.mixup > 1:
            raise ValueError("cutmix + mixup must not exceed 1")
        return self


class SupervisedOrigin(LabelledOrigin):
    """Training on the source images from a random initialisation."""

    kind: Literal["supervised"]
    """trained on the labelled source images"""


class ContinuedOrigin(LabelledOrigin):
    """Training that continues from a checkpoint, on a source of its own."""

    kind: Literal["continued"]
    """trained on from a checkpoint"""
    start: Annotated[Place | None, Field(alias="from")]
    """checkpoint to start from: an origin, or a file or folder of checkpoints; null: pretrain.from"""
    source: Name | None
    """name of its source dataset; null: pretrain.source"""
    source_root: Place | None
    """an ImageFolder, or a prepared target with labels of images; null: pretrain.source_root"""


Mean = Annotated[Real, Field(ge=-1000, le=1000)]
Deviation = Annotated[Real, Field(ge=0.001, le=1000)]


class InputContract(Section):
    """Input of imported weights: side in pixels, mean and standard deviation per channel in [0, 1] units, channel order."""

    size: Pixels
    """side of the images, in pixels"""
    mean: tuple[Mean, Mean, Mean]
    """mean per channel, of pixels in [0, 1]"""
    std: tuple[Deviation, Deviation, Deviation]
    """standard deviation per channel, of pixels in [0, 1]"""
    channels: Literal["RGB", "BGR", "grey"]
    """order of the channels"""


class ImportedOrigin(Section):
    """What all origins have that import weights files."""

    source: Name
    """dataset that the weights were trained on, for the records"""
    pickle: bool
    """whether a pickle, which can run code, may be read"""
    allow_partial: bool
    """whether tensors may be missing, which stay random"""
    prefix: Annotated[str, Field(min_length=1)] | None
    """start of the tensor names to take, such as teacher.; null: the only encoder in the file"""
    input: InputContract | None
    """input that the weights expect; null: that of their record or architecture"""


class FileOrigin(ImportedOrigin):
    """Weights files: one, whose epoch is `epoch`, or several by epoch."""

    kind: Literal["file"]
    """imported from weights files"""
    weights: FilesByEpoch
    """a weights file, or files by epoch"""
    epoch: Positive | None
    """epoch of the one file; null where weights maps epochs to files"""

    @model_validator(mode="after")
    def _check_epoch(self) -> "FileOrigin":
        if isinstance(self.weights, str) == (self.epoch is None):
            raise ValueError("epoch must be that of the one file in weights, or null where weights maps epochs to files")
        return self

    @property
    def files(self) -> dict[int, Path]:
        """Weights files by epoch."""
        weights = {self.epoch: self.weights} if isinstance(self.weights, str) else self.weights
        return {epoch: Path(weights[epoch]) for epoch in sorted(epoch for epoch in weights if epoch is not None)}


def _one_group(value: str) -> str:
    """Refuse what is not a regular expression with one group."""
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"must be a regular expression, but {error}") from None
    if groups != 1:
        raise ValueError(f"must have one group, the number of the epoch, such as 'epoch(\\d+)', but has {groups}")
    return value


class SeriesOrigin(ImportedOrigin):
    """Checkpoints of one pretraining that was done elsewhere: a folder of weights files with the epoch in their names."""

    kind: Literal["series"]
    """imported from a folder of weights files"""
    weights: Place
    """folder of the weights files, or a glob such as runs/7/*.pth"""
    epoch: Annotated[str, AfterValidator(_one_group)]
    """regular expression, searched in the path below the folder, whose one group is the epoch"""
    first: Literal[0, 1]
    """number in the names after the first epoch; 0 where the files count from 0"""


class PackageOrigin(Section):
    """ImageNet weights from an installed package: the folder of their copies, and the epoch that is recorded for them."""

    kind: Literal["package"]
    """imported from an installed package"""
    folder: Out
    """folder of the copies of the weights"""
    epoch: Positive
    """epoch that is recorded for the weights"""


class CatalogueOrigin(Section):
    """A published initialisation of the catalogue (`medtransfer catalogue`), from a file that is put in place beforehand."""

    kind: Literal["catalogue"]
    """a published initialisation, whose names are known"""
    id: Annotated[str, Field(min_length=1)]
    """id in the catalogue"""
    folder: Out
    """folder of the file <id>.pth, or of a folder <id> that holds it"""
    epoch: Positive | None
    """epoch that is recorded for the weights; null: that of the catalogue, 1 where it is unknown"""
    pickle: bool
    """whether a pickle, which can run code, may be read"""


class SoupOrigin(Section):
    """The average of checkpoints of one pretraining, which is made first."""

    kind: Literal["soup"]
    """averaged from checkpoints of another origin"""
    of: Name
    """origin of these checkpoints, of the same encoder"""
    epochs: Annotated[tuple[Positive, ...], Field(min_length=2)]
    """epochs of these checkpoints, such as the last five; the highest is that of the average"""
    images: Annotated[int, Field(ge=2)]
    """source images, drawn with the seed, for the statistics of batch normalisation"""

    @model_validator(mode="after")
    def _check_epochs(self) -> "SoupOrigin":
        if len(set(self.epochs)) < len(self.epochs):
            raise ValueError("epochs must differ from each other")
        return self


class FusedOrigin(Section):
    """Checkpoints of ours whose encoders are fused, for an encoder of the build `fused`."""

    kind: Literal["fused"]
    """the encoders of several checkpoints as one"""
    sources: Annotated[list[Place], Field(min_length=1)]
    """checkpoints, such as checkpoints/unet-simple/epoch-010"""

    @model_validator(mode="after")
    def _check_sources(self) -> "FusedOrigin":
        if len({Path(source.removesuffix(".json")) for source in self.sources}) < len(self.sources):
            raise ValueError("sources must differ from each other")
        return self


Origin = Annotated[
    SupervisedOrigin
    | ContinuedOrigin
    | FileOrigin
    | SeriesOrigin
    | PackageOrigin
    | CatalogueOrigin
    | SoupOrigin
    | FusedOrigin
    | SimCLROrigin
    | ReconstructionOrigin
    | ConRecOrigin
    | SegmentationOrigin
    | MaskedOrigin
    | ClassificationOrigin,
    Field(discriminator="kind"),
]
