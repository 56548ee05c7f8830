"""A checkpoint's two files go in; what its record says and its weights come out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from medtransfer.config import Name
from medtransfer.errors import InputError
from medtransfer.records.arrays import BROKEN_ARRAYS
from medtransfer.records.base import CHECKPOINT, REMEDIES, Count, Record, Share
from medtransfer.records.untrusted import in_one_line, require_file

if TYPE_CHECKING:
    import torch


LARGEST = 1000  # of a mean or standard deviation of pixels in [0, 1]


def _check_contract(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse an input contract that no image can be brought to: `mean` and `std` of three channels are what stages read."""
    for name in ("mean", "std"):
        numbers = value.get(name)
        if not isinstance(numbers, list) or len(numbers) != 3 or any(type(number) not in (int, float) for number in numbers):
            raise ValueError(f"`{name}` must be three numbers")
    if not all(-LARGEST <= number <= LARGEST for number in value["mean"]):
        raise ValueError(f"`mean` must lie in [-{LARGEST}, {LARGEST}]")
    if not all(1 / LARGEST <= number <= LARGEST for number in value["std"]):
        raise ValueError(f"`std` must lie in [{1 / LARGEST}, {LARGEST}]")
    return value


Contract = Annotated[dict[str, Any], AfterValidator(_check_contract)]


@dataclass(frozen=True)
class CheckpointInfo(Record):
    """What `epoch-NNN.json` says of the weights beside it; the pair alone rebuilds the encoder.

    Attributes:
        encoder: configured name.
        build: key of ENCODERS.
        arguments: constructor arguments.
        epoch: epochs of pretraining, 0 is the random initialisation.
        source: name of the source dataset.
        source_classes: its class names, in the order of the head's outputs.
        origin: origin.
        source_accuracy: validation accuracy in [0, 1], None where it was not measured.
        input: size (pixels), mean and std a channel in [0, 1] units, channel order.
        seed: of the pretraining.
        pretraining: digest of everything that the pretraining depends on.
        parent: weights that it started from, None for a random initialisation.
        weights: SHA-256 of the weights file.
        git_revision: of the code that made it.
    """

    encoder: Name
    build: Name
    arguments: dict[str, Any]
    epoch: Count
    source: str
    source_classes: list[str]
    origin: Name
    source_accuracy: Share | None
    input: Contract
    seed: int
    pretraining: str
    parent: str | None
    weights: str
    git_revision: str

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return CHECKPOINT


def read_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Read a .safetensors file; a missing or broken one is an InputError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    require_file(path, "weights", REMEDIES[CHECKPOINT])
    try:
        return load_file(path)
    except (OSError, SafetensorError, *BROKEN_ARRAYS) as fault:
        raise InputError(
            f"expected weights in {path}, but they cannot be read ({in_one_line(fault)}); {REMEDIES[CHECKPOINT]}"
        ) from None


def series_folder(root: Path, encoder: str, origin: str) -> Path:
    """Give the folder of one pretraining's checkpoints or scores."""
    return root / f"{encoder}-{origin}"


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Give the JSON half of a checkpoint; the weights lie beside it as .safetensors."""
    return folder / f"epoch-{epoch:03d}.json"


def list_checkpoints(folder: Path) -> dict[int, CheckpointInfo]:
    """Read all checkpoints of a pretraining, by epoch; none at all is an InputError."""
    found = {path: CheckpointInfo.read(path) for path in sorted(folder.glob("epoch-*.json"))}
    if not found:
        raise InputError(f"expected checkpoints epoch-NNN.json in {folder}, but there are none; {REMEDIES[CHECKPOINT]}")
    for path, info in found.items():
        if path != checkpoint_path(folder, info.epoch):
            raise InputError(f"expected the epoch in the name of {path}, but it says {info.epoch}; rename it and its weights")
    return {info.epoch: info for info in found.values()}
