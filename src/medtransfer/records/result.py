"""Record of a fine-tuning: its name, its cell, and `metrics.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from medtransfer.hashing import digest, without
from medtransfer.records.atomic import write_text
from medtransfer.records.base import RESULT, Record
from medtransfer.records.checkpoint import series_folder

PER_SAMPLE, WEIGHTS_FILE, INTERVALS = "per_image.csv", "weights.safetensors", "intervals.csv"
WHOLE = {"size": None, "fold": None, "folds": None}  # fields of a cell that trains on all training images


def size_text(size: float) -> str:
    """Return a number of images as it is, and a share of them in per cent."""
    return str(size) if isinstance(size, int) else f"{(Decimal(repr(size)) * 100).normalize():f}%"


def write_per_sample(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the values of every test sample beside `metrics.json`, as `PER_SAMPLE`."""
    import pandas as pd

    write_text(folder / PER_SAMPLE, pd.DataFrame(rows).to_csv(index=False))


@dataclass(frozen=True)
class CellName:
    """A fine-tuning as a user names it.

    Attributes:
        target: name of the prepared target.
        encoder: name under `pretrain.encoders`.
        origin: name under `pretrain.origins`.
        epoch: epoch of the checkpoint that it starts from.
        mode: mode of transfer, a key of MODES.
        seed: seed of everything random.
        size: training images that are drawn: a number (int) or a share (float); None: all.
        fold: fold whose groups are the validation samples, from 1; None: no folds.
        folds: number of folds; None likewise.
    """

    target: str
    encoder: str
    origin: str
    epoch: int
    mode: str
    seed: int
    size: int | float | None = field(default=None, kw_only=True)
    fold: int | None = field(default=None, kw_only=True)
    folds: int | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        """Readable name of its run; what differs within a study comes first, since tables and legends cut off the end."""
        size = "" if self.size is None else f" n{size_text(self.size)}"
        fold = "" if self.folds is None else f" f{self.fold}/{self.folds}"
        return f"e{self.epoch:03d} {self.mode} s{self.seed}{size}{fold} · {self.encoder}-{self.origin} → {self.target}"

    def folder(self, models: Path) -> Path:
        """Return its folder below the folder of all fine-tuned models."""
        size = "" if self.size is None else f"-n{self.size}"
        fold = "" if self.folds is None else f"-f{self.fold}of{self.folds}"
        name = f"e{self.epoch:03d}-{self.mode}-s{self.seed}{size}{fold}"
        return series_folder(models / self.target, self.encoder, self.origin) / name


@dataclass(frozen=True)
class Cell(CellName):
    """Everything that one fine-tuning result depends on.

    `pretraining`, `weights`, `data` and `protocol` are digests, so a changed image, weight or parameter makes another cell.
    """

    source: str
    protocol: str
    pretraining: str
    weights: str
    data: str

    @property
    def key(self) -> str:
        """Digest of the cell, the tag `cell` of its run."""
        return digest(without(vars(self), WHOLE), 16)


@dataclass(frozen=True)
class Result(Record):
    """Contents of `metrics.json` of a fine-tuned model.

    Attributes:
        cell: fields of the `Cell`.
        key: its digest.
        task: kind of the target, a key of TASKS.
        primary: name of the metric that models are compared by.
        metrics: final metrics on the test samples, by name.
        per_sample: file beside this one with the values of every test sample.
        curves: one value per epoch, by name; None where an epoch has none.
        encoder_hash: digests of the encoder's weights before and after training.
        settings: the recipe, the class names, the `regions` where the target has some, the encoder's arguments, the `parts` that
            were kept, and how the target's intensities became uint8.
        seconds: duration of training and testing.
        git_revision: revision of the code.
    """

    cell: dict[str, Any]
    key: str
    task: str
    primary: str
    metrics: dict[str, float]
    per_sample: str
    curves: dict[str, list[float | None]]
    encoder_hash: list[str]
    settings: dict[str, Any]
    seconds: float
    git_revision: str

    @property
    def parts(self) -> list[str]:
        """Parts of the model whose weights are beside this file; a frozen encoder is that of its checkpoint."""
        return list(self.settings.get("parts", ["encoder", "decoder"]))

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return RESULT
