"""Record of a fine-tuned model, `model.json` beside its weights: everything that a prediction needs to know."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from medtransfer.config import Name
from medtransfer.errors import InputError
from medtransfer.records.base import MODEL, MOST_CHANNELS, REMEDIES, Channels, Record, Regions, Share, Side, input_channels
from medtransfer.records.checkpoint import LARGEST
from medtransfer.records.image_rule import StoredRule
from medtransfer.records.prepared import IMAGE_TASKS

MODEL_FILE = "model.json"
Pair = Annotated[list[Side], Field(min_length=2, max_length=2)]
Mean = Annotated[list[Annotated[float, Field(ge=-LARGEST, le=LARGEST)]], Field(min_length=1, max_length=MOST_CHANNELS)]
Std = Annotated[list[Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)]], Field(min_length=1, max_length=MOST_CHANNELS)]


@dataclass(frozen=True)
class ModelInfo(Record):
    """Contents of `model.json`.

    A raw image is turned into stored uint8 pixels by `image_rule` and `channels`, resized to `size`, cut into windows of
    `input`, divided by 255, grey repeated to three channels, others kept, and normalised by `mean` and `std`.

    Attributes:
        cell: fields of the `Cell` that made it; with a frozen encoder they name the checkpoint that holds the encoder.
        key: digest of the cell.
        task: what it predicts, a key of TASKS.
        classes: names of the non-background classes.
        thresholds: probabilities above which a class is decided for; empty where the highest probability wins.
        build: architecture of the encoder, a key of ENCODERS.
        arguments: constructor arguments of the encoder.
        decoder: key of DECODERS; None for the encoder's own.
        input: (height, width) of the network's input, pixels.
        size: (height, width) that images are resized to, pixels; larger than `input` where they are cut into windows.
        channels: channels of the stored pixels.
        mean: mean per channel, in [0, 1] units.
        std: standard deviation per channel, likewise.
        image_rule: how raw images become stored pixels, the fields of an `ImageRule`; None where that is unknown.
        parts: parts of the model in the weights file.
        weights: SHA-256 of the weights file.
        kind: kind of the pretraining, a key of ORIGINS.
        lineage: weights that the pretraining started from, oldest first; last how it was adapted to other channels.
        licence: licence of these weights; empty where it is unknown.
        git_revision: revision of the code that made the model.
        regions: class numbers of each region by its name, which reference masks are compared in, too.
    """

    cell: dict[str, Any]
    key: str
    task: Name
    classes: Annotated[list[str], Field(min_length=1, max_length=254)]
    thresholds: list[Share]
    build: Name
    arguments: dict[str, Any]
    decoder: Name | None
    input: Pair
    size: Pair
    channels: Channels
    mean: Mean
    std: Std
    image_rule: StoredRule | None
    parts: Annotated[list[Name], Field(min_length=1)]
    weights: str
    kind: Name
    lineage: list[str]
    licence: str
    git_revision: str
    regions: Regions = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate the record; see `Record.read`."""
        info = super().read(path)
        if not len(info.mean) == len(info.std) == info.input_channels:
            raise InputError(
                f"expected {info.input_channels} numbers in mean and std of {path}, one per channel of the network's images, but "
                f"got {len(info.mean)} and {len(info.std)}; {REMEDIES[MODEL]}"
            )
        return info

    @classmethod
    def added(cls) -> frozenset[str]:
        """Return the fields that older files lack."""
        return frozenset({"regions"})

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return MODEL

    @property
    def input_channels(self) -> int:
        """Channels of the images that the network gets."""
        return input_channels(self.channels)

    @property
    def of_images(self) -> bool:
        """Whether it predicts labels of whole images, not masks."""
        return self.task in IMAGE_TASKS

    @property
    def is_whole(self) -> bool:
        """Whether the weights file holds the encoder, too."""
        return "encoder" in self.parts
