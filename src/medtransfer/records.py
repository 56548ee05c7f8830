"""A result goes in; a small versioned file comes out, whole or not at all, and back: the record of every arrow."""

import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from medtransfer.errors import InputError
from medtransfer.runtime import digest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path to write to; it gets its final name only after the block ends well and the bytes are on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for stray in path.parent.glob(f".{escape(path.name)}.*.partial"):
        if not _is_alive(stray.name.split(".")[-2]):  # a killed process left it
            stray.unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it takes its final name, replacing an older one, only after the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        try:
            partial.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path, form: str) -> dict[str, Any]:
    """Read a record of the given form.

    Args:
        path: the file.
        form: what the file's `format` field must say, such as `medtransfer/target/1`.

    Raises:
        InputError: the file is missing, is no JSON or has another format.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"expected the file {path}, but it does not exist; {_REMEDIES[form]}") from None
    except (ValueError, OSError) as fault:
        raise InputError(f"expected a JSON record in {path}, but it cannot be read ({fault}); {_REMEDIES[form]}") from None
    found = value.get("format") if isinstance(value, dict) else None
    if found != form:
        raise InputError(f"expected the format {form!r} in {path}, but got {found!r}; {_REMEDIES[form]}")
    return value


TARGET, CHECKPOINT, SCORES, RESULT = (f"medtransfer/{kind}/1" for kind in ("target", "checkpoint", "scores", "result"))
_REMEDIES = {
    TARGET: "make it with `medtransfer prepare --target <name>`",
    CHECKPOINT: "make it with `medtransfer pretrain`",
    SCORES: "make it with `medtransfer score`",
    RESULT: "make it with `medtransfer finetune`",
}


@dataclass(frozen=True)
class _Record:
    """What all records share: they are read and written field by field, in their form."""

    def write(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_json(path, {"format": self.form(), **asdict(self)})

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        raise TypeError(f"{cls.__name__} has no file format")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record; a missing, foreign or incomplete file is an InputError."""
        value = read_json(path, cls.form())
        names = {field.name for field in fields(cls)}
        if missing := names - value.keys():
            raise InputError(f"expected the field {min(missing)!r} in {path}, but it is missing; {_REMEDIES[cls.form()]}")
        return cls(**{name: value[name] for name in names})


@dataclass(frozen=True)
class TargetInfo(_Record):
    """What `dataset.json` of a prepared target says.

    Attributes:
        target: its name.
        reader: the reader that made it.
        citation: where the dataset comes from.
        classes: names of the non-background classes; label c of a mask is classes[c - 1].
        channels: of the stored images, 1 or 3; a grey image is repeated to 3 when it is loaded.
        input: (height, width) in pixels that a model sees.
        augmentation: name of the training augmentation, `rotate-flip` or `rotate-crop`.
        scaling: how raw intensities became uint8.
        counts: samples a split that were found.
        expected: samples a split that the full dataset has, empty when nothing is published.
        subset: whether fewer than expected were declared.
        sources: SHA-256 of every source file, by path below the raw folder.
        arrays: SHA-256 of images.npy, masks.npy and index.csv.
        settings: the parameters that it was prepared with.
    """

    target: str
    reader: str
    citation: str
    classes: list[str]
    channels: int
    input: list[int]
    augmentation: str
    scaling: str
    counts: dict[str, int]
    expected: dict[str, int]
    subset: bool
    sources: dict[str, str]
    arrays: dict[str, str]
    settings: dict[str, Any]

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return TARGET

    @property
    def fingerprint(self) -> str:
        """Give 12 hexadecimal digits that change when any image, mask, split or class does."""
        return digest([self.arrays, self.classes, self.input, self.augmentation])


INDEX_COLUMNS = ("sample", "row", "split", "group", "source", "slice", "top", "left", "height", "width")


@dataclass(frozen=True)
class PreparedTarget:
    """A prepared target on disk: `dataset.json`, `index.csv`, and two arrays that are mapped, not read.

    Each line of the index is one sample: the window (top, left, height, width; pixels) of row `row` of the arrays.
    """

    folder: Path
    info: TargetInfo

    @classmethod
    def open(cls, folder: Path) -> "PreparedTarget":
        """Open a prepared target; a missing or foreign one is an InputError."""
        return cls(folder, TargetInfo.read(folder / "dataset.json"))

    @cached_property
    def images(self) -> "np.ndarray":
        """Map the images, uint8 (N, H, W, C)."""
        return self._map("images.npy")

    @cached_property
    def masks(self) -> "np.ndarray":
        """Map the masks, uint8 (N, H, W), 0 is background."""
        return self._map("masks.npy")

    @cached_property
    def index(self) -> "pd.DataFrame":
        """Read the index, one line a sample, columns INDEX_COLUMNS."""
        import pandas as pd

        texts = {"group": str, "source": str, "split": str}
        try:
            frame = pd.read_csv(self.folder / "index.csv", dtype=texts, keep_default_na=False)  # a patient may be called NA
        except (OSError, ValueError) as fault:
            raise InputError(
                f"expected a table in {self.folder / 'index.csv'}, but it cannot be read ({fault}); {_REMEDIES[TARGET]}"
            ) from None
        if tuple(frame.columns) != INDEX_COLUMNS:
            raise InputError(
                f"expected the columns {', '.join(INDEX_COLUMNS)} in {self.folder / 'index.csv'}, but got "
                f"{', '.join(frame.columns)}; {_REMEDIES[TARGET]}"
            )
        return frame

    def samples(self, split: str) -> "pd.DataFrame":
        """Give the index lines of one split; an empty one is an InputError."""
        lines = self.index[self.index["split"] == split]
        if lines.empty:
            known = ", ".join(sorted(self.index["split"].unique()))
            raise InputError(f"expected samples of the split {split!r} in {self.folder / 'index.csv'}, but it holds {known}")
        return lines.reset_index(drop=True)

    def _map(self, name: str) -> "np.ndarray":
        import numpy as np

        try:
            return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as fault:
            raise InputError(
                f"expected an array in {self.folder / name}, but it cannot be read ({fault}); {_REMEDIES[TARGET]}"
            ) from None


@dataclass(frozen=True)
class CheckpointInfo(_Record):
    """What `epoch-NNN.json` says of the weights beside it; the pair alone rebuilds the encoder.

    Attributes:
        encoder: registry name.
        arguments: constructor arguments.
        epoch: epochs of pretraining, 0 is the random initialisation.
        source: name of the source dataset.
        source_classes: its class names, in the order of the head's outputs.
        scheme: pretraining scheme.
        source_accuracy: validation accuracy in [0, 1], None where it was not measured.
        input: size (pixels), mean and std a channel in [0, 1] units, channel order.
        seed: of the pretraining.
        pretraining: digest of everything that the pretraining depends on.
        parent: weights that it started from, None for a random initialisation.
        weights: SHA-256 of the weights file.
        git_revision: of the code that made it.
    """

    encoder: str
    arguments: dict[str, Any]
    epoch: int
    source: str
    source_classes: list[str]
    scheme: str
    source_accuracy: float | None
    input: dict[str, Any]
    seed: int
    pretraining: str
    parent: str | None
    weights: str
    git_revision: str

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return CHECKPOINT


# What reading a damaged .npz, or one without the wanted array, raises.
BROKEN_ARRAYS = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def pair_name(side: str, distance: str, level: int, pooled: bool) -> str:
    """Give the name of an array of per-image distances in a score's .npz; the side is `pos` or `neg`."""
    return f"{side}/{distance}/{level}/{'pooled' if pooled else 'flat'}"


def read_pair(path: Path, distance: str, level: int, pooled: bool) -> "tuple[np.ndarray, np.ndarray]":
    """Read (d_pos, d_neg), float32 (repeats, images) each, of one setting; what is not there is an InputError."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return file[pair_name("pos", distance, level, pooled)], file[pair_name("neg", distance, level, pooled)]
    except BROKEN_ARRAYS as fault:
        raise InputError(
            f"expected the per-image distances {distance}, level {level}, {'pooled' if pooled else 'flattened'} in {path}, but "
            f"they cannot be read ({fault}); {_REMEDIES[SCORES]}"
        ) from None


def read_tensors(path: Path) -> "dict[str, torch.Tensor]":
    """Read a .safetensors file; a missing or broken one is an InputError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as fault:
        raise InputError(f"expected weights in {path}, but they cannot be read ({fault}); {_REMEDIES[CHECKPOINT]}") from None


def write_tensors(path: Path, tensors: "dict[str, torch.Tensor]") -> None:
    """Write tensors as .safetensors, whole or not at all; storage that is shared is written out."""
    from safetensors.torch import save_file

    with atomic_path(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, partial)


def series_folder(root: Path, encoder: str, scheme: str) -> Path:
    """Give the folder of one pretraining's checkpoints or scores."""
    return root / f"{encoder}-{scheme}"


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Give the JSON half of a checkpoint; the weights lie beside it as .safetensors."""
    return folder / f"epoch-{epoch:03d}.json"


def list_checkpoints(folder: Path) -> dict[int, CheckpointInfo]:
    """Read all checkpoints of a pretraining, by epoch; none at all is an InputError."""
    found = {path: CheckpointInfo.read(path) for path in sorted(folder.glob("epoch-*.json"))}
    if not found:
        raise InputError(f"expected checkpoints epoch-NNN.json in {folder}, but there are none; {_REMEDIES[CHECKPOINT]}")
    for path, info in found.items():
        if path != checkpoint_path(folder, info.epoch):
            raise InputError(f"expected the epoch in the name of {path}, but it says {info.epoch}; rename it and its weights")
    return {info.epoch: info for info in found.values()}


@dataclass(frozen=True)
class Cell:
    """What makes one fine-tuning result; its digest is the tag `cell`.

    `pretraining`, `weights`, `data` and `protocol` are digests, so a changed image, weight or parameter is another cell.
    """

    source: str
    scheme: str
    encoder: str
    epoch: int
    target: str
    mode: str
    seed: int
    protocol: str
    pretraining: str
    weights: str
    data: str

    @property
    def key(self) -> str:
        """Give the digest that the cell is found by."""
        return digest(asdict(self), 16)

    @property
    def name(self) -> str:
        """Give the readable name of its folder and run."""
        return f"{self.target}-{self.encoder}-{self.scheme}-e{self.epoch:03d}-{self.mode}-s{self.seed}"


@dataclass(frozen=True)
class Result(_Record):
    """What `metrics.json` of a fine-tuned model says: the cell, its final metrics and its curves by epoch."""

    cell: dict[str, Any]
    key: str
    metrics: dict[str, float]
    curves: dict[str, list[float]]
    encoder_hash: list[str]
    settings: dict[str, Any]
    seconds: float
    git_revision: str

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return RESULT


@dataclass(frozen=True)
class Scores(_Record):
    """What `epoch-NNN.json` of a score folder says of one checkpoint on one target.

    `table` has a line a (distance, level, pooled, margin): robustness, standard_error; `counts` the vectors that were
    replaced, by level and pooling; the per-image pairs lie beside it as .npz.
    """

    target: str
    data: str
    encoder: str
    scheme: str
    source: str
    epoch: int
    pretraining: str
    weights: str
    source_accuracy: float | None
    images: int
    settings: dict[str, Any]
    table: list[dict[str, Any]]
    counts: list[dict[str, Any]]
    notes: list[str]

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return SCORES
