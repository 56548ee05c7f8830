"""The files of a checkpoint: the record `epoch-NNN.json`, the weights `epoch-NNN.safetensors`, and the head of an import.

A pretraining of ours stores its head in the weights file. The classifier of imported weights has a file of its own,
`head-NNN.safetensors`, so that the weights file, whose digest results are found by, is that of the encoder alone.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from medtransfer.config import Name
from medtransfer.errors import InputError
from medtransfer.records.arrays import BROKEN_ARRAYS
from medtransfer.records.base import CHECKPOINT, REMEDIES, Count, Record
from medtransfer.records.folders import epoch_records
from medtransfer.records.lineage import Parent, are_random
from medtransfer.records.untrusted import in_one_line, require_file

if TYPE_CHECKING:
    import torch


SOURCE_ACCURACY = "source_accuracy"  # metric of a pretraining; a score on no target
SOURCE_AUC = "source_auc"  # likewise, of a source whose labels are independent
SOURCE_DICE = "source_dice"  # likewise, of a source that is segmented
LARGEST = 1000  # plausible mean or standard deviation of pixels in [0, 1]


def _check_contract(value: dict[str, Any]) -> dict[str, Any]:
    """Check `mean` and `std` of an input contract, by which stages normalise images: three numbers each, in a plausible range."""
    for name in ("mean", "std"):
        numbers = value.get(name)
        if not isinstance(numbers, list) or len(numbers) != 3 or any(type(number) not in (int, float) for number in numbers):
            raise ValueError(f"`{name}` must be a list of three numbers")
    if not all(-LARGEST <= number <= LARGEST for number in value["mean"]):
        raise ValueError(f"`mean` must be in [-{LARGEST}, {LARGEST}]")
    if not all(1 / LARGEST <= number <= LARGEST for number in value["std"]):
        raise ValueError(f"`std` must be in [{1 / LARGEST}, {LARGEST}]")
    return value


Contract = Annotated[dict[str, Any], AfterValidator(_check_contract)]


def _check_metrics(value: dict[str, float]) -> dict[str, float]:
    for name in (SOURCE_ACCURACY, SOURCE_AUC, SOURCE_DICE):
        if name in value and not 0 <= value[name] <= 1:
            raise ValueError(f"`{name}` must be in [0, 1]")
    return value


def _check_loaded(value: dict[str, int]) -> dict[str, int]:
    if value.keys() != {"matched", "total"} or value["matched"] > value["total"]:
        raise ValueError("must be `matched` of `total` tensors")
    return value


Metrics = Annotated[dict[str, float], AfterValidator(_check_metrics)]
Loaded = Annotated[dict[str, Count], AfterValidator(_check_loaded)]
Positive = Annotated[int, Field(gt=0)]
Levels = Annotated[list[Annotated[list[Positive], Field(min_length=2, max_length=2)]], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the weights of a checkpoint come from.

    Attributes:
        encoder: name under `pretrain.encoders`.
        origin: name under `pretrain.origins`.
        kind: kind of the origin, a key of ORIGINS.
        epoch: epochs of pretraining; 0 is the random initialisation.
        source: name of the source dataset.
        source_classes: its class names, in the order of the head's outputs; empty without a head, and of an import.
        metrics: `source_accuracy`, the validation accuracy in [0, 1], `source_auc` or `source_dice`; `val_loss` of other
            pretext tasks; empty if nothing was measured.
        input: size (pixels), mean and std per channel in [0, 1] units, channel order.
        seed: seed of the pretraining.
        pretraining: digest of everything that the pretraining depends on.
        lineage: weights that it started from, oldest first; empty for a random initialisation.
        loaded: encoder tensors that an import `matched`, out of `total`; None if nothing was imported.
        licence: licence of imported weights, empty where it is unknown.
        parents: checkpoints that it started from, oldest first; empty unless a pretraining continues from one.
    """

    encoder: Name
    origin: Name
    kind: Name
    epoch: Count = 0
    source: str
    source_classes: list[str]
    metrics: Metrics = field(default_factory=dict)
    input: Contract
    seed: int
    pretraining: str
    lineage: list[str] = field(default_factory=list)
    loaded: Loaded | None = None
    licence: str = ""
    parents: list[Parent] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo(Record, Provenance):
    """Contents of `epoch-NNN.json`, enough to rebuild the encoder from the weights beside it.

    Attributes:
        build: key of ENCODERS.
        arguments: constructor arguments.
        levels: [stride, channels] of each map, from finest to coarsest.
        multiple: both input sides must be multiples of this many pixels.
        parts: parts of the model that the weights file holds, such as `encoder` and `head`.
        weights: SHA-256 of the weights file.
        git_revision: revision of the code that made it.
        head: SHA-256 of the file of an imported head; empty without such a file.
    """

    build: Name
    arguments: dict[str, Any]
    levels: Levels
    multiple: Positive
    parts: list[Name]
    weights: str
    git_revision: str
    head: str = ""

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return CHECKPOINT

    @classmethod
    def added(cls) -> frozenset[str]:
        """Return the fields that older files lack."""
        return frozenset({"licence", "head", "parents"})

    @property
    def source_accuracy(self) -> float | None:
        """Validation accuracy on the source, or AUC where its labels are independent, in [0, 1]; None if it was not measured."""
        return self.metrics.get(SOURCE_ACCURACY, self.metrics.get(SOURCE_AUC))

    @property
    def source_metric(self) -> str:
        """What `source_accuracy` is: `accuracy`, or `AUC`."""
        return "AUC" if SOURCE_AUC in self.metrics and SOURCE_ACCURACY not in self.metrics else "accuracy"

    @property
    def is_random(self) -> bool:
        """Whether nothing was learned yet; epoch 0 of a pretraining that continues has the weights of its parent."""
        return self.epoch == 0 and are_random(self.parents)


def read_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Read a .safetensors file.

    Raises:
        InputError: the file is missing or broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    require_file(path, "weights", REMEDIES[CHECKPOINT])
    try:
        return load_file(path)
    except (OSError, SafetensorError, *BROKEN_ARRAYS) as error:
        raise InputError(
            f"expected weights in {path}, but they cannot be read ({in_one_line(error)}); get them back from the tracking store "
            "with `medtransfer pretrain`, or make them again with its --force"
        ) from None


def series_folder(root: Path, encoder: str, origin: str) -> Path:
    """Return the folder of one pretraining's checkpoints or scores."""
    return root / f"{encoder}-{origin}"


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Return the path of a checkpoint's record; the weights are stored beside it as .safetensors."""
    return folder / f"epoch-{epoch:03d}.json"


def picture_path(folder: Path, epoch: int) -> Path:
    """Return the path of the picture of what the model of a checkpoint makes of images, where its pretraining draws one."""
    return checkpoint_path(folder, epoch).with_suffix(".png")


def head_path(path: Path, info: CheckpointInfo) -> Path:
    """Return the path of the head's own file beside a checkpoint's record."""
    return path.with_name(f"head-{info.epoch:03d}.safetensors")


def checkpoint_files(path: Path, info: CheckpointInfo) -> list[Path]:
    """Return the paths of all files of a checkpoint: its record, its weights, and its head's own file if it has one."""
    return [path, path.with_suffix(".safetensors"), *([head_path(path, info)] if info.head else [])]


def find_checkpoint(folder: Path, epoch: int) -> tuple[Path, CheckpointInfo]:
    """Read the record of one checkpoint of a pretraining.

    Raises:
        InputError: there is none of that epoch; the message names the epochs that exist.
    """
    path = checkpoint_path(folder, epoch)
    if path.exists():
        return path, _read_named(path)
    held = f"the epochs {', '.join(map(str, list_checkpoints(folder)))}" if epoch_records(folder) else "none"
    raise InputError(
        f"expected a checkpoint of epoch {epoch} in {folder}, but it holds {held}; name one of them, or run "
        "`medtransfer pretrain` with that epoch among its checkpoints"
    )


def list_checkpoints(folder: Path) -> dict[int, CheckpointInfo]:
    """Read the records of all checkpoints of a pretraining, by epoch.

    Raises:
        InputError: there are none, or the folder cannot be read.
    """
    infos = [_read_named(path) for path in epoch_records(folder)]
    if not infos:
        raise InputError(f"expected checkpoints epoch-NNN.json in {folder}, but there are none; {REMEDIES[CHECKPOINT]}")
    return {info.epoch: info for info in sorted(infos, key=lambda info: info.epoch)}  # by name, 1200 would precede 300


def _read_named(path: Path) -> CheckpointInfo:
    """Read a record and check that its epoch is the one in the file's name."""
    info = CheckpointInfo.read(path)
    if path != checkpoint_path(path.parent, info.epoch):
        raise InputError(f"expected the epoch in the name of {path}, but it says {info.epoch}; rename it and its weights")
    return info
