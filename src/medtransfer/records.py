"""A result goes in; a small versioned file comes out, whole or not at all, and back: the record of every arrow."""

import csv
import json
import math
import os
import reprlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property
from glob import escape
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, Self, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from medtransfer.config import MOST_PIXELS, Name
from medtransfer.errors import InputError
from medtransfer.runtime import digest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from numpy.lib.npyio import NpzFile


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


def require_file(path: Path, what: str, remedy: str) -> Path:
    """Give the path back; what is no file that can be read, such as a folder, a pipe or a link in a circle, is an InputError.

    To open a pipe would wait for ever, and a device has no end.

    Args:
        path: of the file.
        what: it should hold, such as `an array`.
        remedy: what the user can do.
    """
    try:
        if path.is_file():
            path.open("rb").close()
            return path
        fault = _kind(path)
    except (OSError, ValueError) as error:  # a ValueError comes from a NUL in the name
        fault = getattr(error, "strerror", None) or str(error)
    raise InputError(f"expected {what} in {path}, but {fault}; {remedy}")


def _kind(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return "it is a pipe or a device"
    return "it is a link that leads nowhere" if path.is_symlink() else "there is none"


def map_array(path: Path, remedy: str) -> "np.ndarray":
    """Map the numbers of a .npy file; the size that its header claims is compared with the file's before it is believed.

    Raises:
        InputError: the file is missing, no array, cut off, or holds anything but numbers; no pickle is loaded.
    """
    import numpy as np

    require_file(path, "an array", remedy)
    try:
        with path.open("rb") as file:
            _check_array(file, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN_ARRAYS as fault:
        raise InputError(f"expected an array in {path}, but it cannot be read ({in_one_line(fault)}); {remedy}") from None


def _check_array(file: IO[bytes], size: int) -> None:
    """Read the header of a .npy file of `size` bytes; a ValueError says why its content cannot be what it claims."""
    from numpy.lib import format as npy

    if (version := npy.read_magic(file)) != (1, 0):
        raise ValueError(f"its header is of version {version}")
    shape, _, dtype = npy.read_array_header_1_0(file)
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {dtype}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"it claims the shape {shape} of {dtype}, but {size - file.tell()} bytes follow")


@contextmanager
def open_arrays(path: Path) -> "Iterator[NpzFile]":
    """Open a .npz file; one whose content cannot be what it claims raises one of BROKEN_ARRAYS, before memory is taken for it.

    No pickle is loaded.
    """
    import numpy as np

    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > DENSEST * member.compress_size + 1:
                raise ValueError(f"{member.filename} claims to hold {member.file_size} bytes in {member.compress_size}")
            with archive.open(member) as file:
                _check_array(file, member.file_size)
    with np.load(path, allow_pickle=False) as arrays:
        yield arrays


DENSEST = 1032  # bytes that a byte of a zip file can stand for


def in_one_line(fault: BaseException) -> str:
    """Give a library's complaint, or else its kind, in one short line."""
    return " ".join(str(fault).split())[:200] or type(fault).__name__


@dataclass(frozen=True)
class Table:
    """A CSV file: the names of its columns, its rows of as many texts, and the line in the file that each row ends in."""

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]


def read_table(path: Path, remedy: str) -> Table:
    """Read a CSV file in UTF-8 with a header; blank lines are left out, but count.

    Raises:
        InputError: the file is missing or no such text, names a column twice, or has a row of another length.
    """
    require_file(path, "a table", remedy)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            columns = next((row for row in reader if row), [])
            if not columns:
                raise ValueError("it is empty")
            numbered = [(reader.line_num, row) for row in reader if row]
            if wrong := [number for number, row in numbered if any("\0" in one for one in row)]:
                raise ValueError(f"line {wrong[0]} holds a NUL")
    except (OSError, ValueError, csv.Error) as fault:
        raise InputError(f"expected a table in {path}, but it cannot be read ({in_one_line(fault)}); {remedy}") from None
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise InputError(f"expected every column once in the header of {path}, but {twice[0]!r} is there twice; {remedy}")
    for number, row in numbered:
        if len(row) != len(columns):
            raise InputError(
                f"expected {len(columns)} fields a line, as in the header, in {path}, but got {len(row)} in line {number}; {remedy}"
            )
    return Table(tuple(columns), [row for _, row in numbered], [number for number, _ in numbered])


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; NaN, infinities, a key that stands twice and nesting without end are ValueErrors."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice")
        return found

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON number")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json(path: Path, form: str) -> dict[str, Any]:
    """Read a record of the given form.

    Args:
        path: the file.
        form: what the file's `format` field must say, such as `medtransfer/target/1`.

    Raises:
        InputError: the file is missing, is no JSON or has another format.
    """
    if not os.path.lexists(path):
        raise InputError(f"expected the file {path}, but it does not exist; {_REMEDIES[form]}")
    require_file(path, "a JSON record", _REMEDIES[form])
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as fault:
        raise InputError(
            f"expected a JSON record in {path}, but it cannot be read ({in_one_line(fault)}); {_REMEDIES[form]}"
        ) from None
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
        for name, adapter in _adapters(cls).items():  # type: ignore[arg-type]
            try:
                adapter.validate_python(value[name])
            except ValidationError as fault:
                first = fault.errors()[0]
                place = ".".join([name, *map(str, first["loc"])])
                raise InputError(
                    f"expected another value of {place} in {path}: {first['msg'].removeprefix('Value error, ')}, but got "
                    f"{reprlib.repr(first['input'])}; {_REMEDIES[cls.form()]}"
                ) from None
        return cls(**{name: value[name] for name in names})


@cache
def _adapters(cls: type) -> dict[str, TypeAdapter]:
    """Give what checks each field of a record against its annotation, to which nothing is converted."""
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    return {name: TypeAdapter(hint, config=strict) for name, hint in get_type_hints(cls, include_extras=True).items()}


def _check_contract(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse an input contract that no image can be brought to: `mean` and `std` of three channels are what stages read."""
    for name in ("mean", "std"):
        numbers = value.get(name)
        if not isinstance(numbers, list) or len(numbers) != 3 or any(type(number) not in (int, float) for number in numbers):
            raise ValueError(f"`{name}` must be three numbers")
    if min(value["std"]) <= 0:
        raise ValueError("`std` must be positive")
    return value


def _check_metrics(value: dict[str, float]) -> dict[str, float]:
    if "dice" not in value:
        raise ValueError("`dice` must be there")
    return value


# What the fields of records may hold, beyond their kind.
Count = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS)]
Contract = Annotated[dict[str, Any], AfterValidator(_check_contract)]
Metrics = Annotated[dict[str, float], AfterValidator(_check_metrics)]
Share = Annotated[float, Field(ge=0, le=1)]


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

    target: Name
    reader: str
    citation: str
    classes: Annotated[list[str], Field(min_length=1, max_length=255)]
    channels: Literal[1, 3]
    input: Annotated[list[Side], Field(min_length=2, max_length=2)]
    augmentation: str
    scaling: str
    counts: dict[str, Count]
    expected: dict[str, Count]
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
        return self._map("images.npy", (*self.masks.shape, self.info.channels))

    @cached_property
    def masks(self) -> "np.ndarray":
        """Map the masks, uint8 (N, H, W), 0 is background."""
        return self._map("masks.npy", None)

    @cached_property
    def index(self) -> "pd.DataFrame":
        """Read the index, one line a sample, columns INDEX_COLUMNS."""
        import pandas as pd

        path, remedy = self.folder / "index.csv", _REMEDIES[TARGET]
        table = read_table(path, remedy)
        if table.columns != INDEX_COLUMNS:
            raise InputError(
                f"expected the columns {', '.join(INDEX_COLUMNS)} in {path}, but got {', '.join(table.columns)[:200]}; {remedy}"
            )
        frame = pd.DataFrame(table.rows, columns=list(INDEX_COLUMNS), dtype=str)  # a patient may be called NA or 0012
        for name in (name for name in INDEX_COLUMNS if name not in {"group", "source", "split"}):
            whole = frame[name].str.fullmatch(r"[0-9]{1,15}")
            if not whole.all():
                place = int(whole.to_numpy(bool).argmin())
                raise InputError(
                    f"expected a whole number, not negative, in the column {name!r} of {path}, but got {table.rows[place]} in line "
                    f"{table.lines[place]}; {remedy}"
                )
            frame[name] = frame[name].astype("int64")
        return frame

    def samples(self, split: str) -> "pd.DataFrame":
        """Give the index lines of one split; an empty one is an InputError."""
        lines = self.index[self.index["split"] == split]
        if lines.empty:
            known = ", ".join(sorted(self.index["split"].unique()))
            raise InputError(f"expected samples of the split {split!r} in {self.folder / 'index.csv'}, but it holds {known}")
        return lines.reset_index(drop=True)

    def _map(self, name: str, shape: tuple[int, ...] | None) -> "np.ndarray":
        """Map an array of a known shape, or of any (N, H, W) for None."""
        path = self.folder / name
        array = map_array(path, _REMEDIES[TARGET])
        fits = array.ndim == 3 if shape is None else array.shape == shape
        if array.dtype != "uint8" or not fits:
            wanted = f"of shape {shape}" if shape else "(N, height, width)"
            raise InputError(
                f"expected an array uint8 {wanted} in {path}, but got {array.dtype} {array.shape}; {_REMEDIES[TARGET]}"
            )
        return array


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

    encoder: Name
    arguments: dict[str, Any]
    epoch: Count
    source: str
    source_classes: list[str]
    scheme: Name
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


# What reading a damaged .npz, or one without the wanted array, raises.
BROKEN_ARRAYS = (
    OSError, ValueError, TypeError, EOFError, KeyError, OverflowError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def pair_name(side: str, distance: str, level: int, pooled: bool) -> str:
    """Give the name of an array of per-image distances in a score's .npz; the side is `pos` or `neg`."""
    return f"{side}/{distance}/{level}/{'pooled' if pooled else 'flat'}"


def read_pair(path: Path, distance: str, level: int, pooled: bool) -> "tuple[np.ndarray, np.ndarray]":
    """Read (d_pos, d_neg), float32 (repeats, images) each, of one setting; what is not there is an InputError."""
    try:
        with open_arrays(path) as file:
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

    require_file(path, "weights", _REMEDIES[CHECKPOINT])
    try:
        return load_file(path)
    except (OSError, SafetensorError, *BROKEN_ARRAYS) as fault:
        raise InputError(
            f"expected weights in {path}, but they cannot be read ({in_one_line(fault)}); {_REMEDIES[CHECKPOINT]}"
        ) from None


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
    metrics: Metrics
    curves: dict[str, list[float]]
    encoder_hash: list[str]
    settings: dict[str, Any]
    seconds: float
    git_revision: str

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return RESULT


class ScoreLine(BaseModel):
    """A line of a score's table."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")

    distance: str
    level: int
    pooled: bool
    margin: float
    robustness: float
    standard_error: float | None


_LINES = TypeAdapter(list[ScoreLine])


def _check_table(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        _LINES.validate_python(value)
    except ValidationError as fault:
        first = fault.errors()[0]
        raise ValueError(f"line {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return value


@dataclass(frozen=True)
class Scores(_Record):
    """What `epoch-NNN.json` of a score folder says of one checkpoint on one target.

    `table` has a line a (distance, level, pooled, margin): robustness, standard_error; `counts` the vectors that were
    replaced, by level and pooling; the per-image pairs lie beside it as .npz.
    """

    target: Name
    data: str
    encoder: Name
    scheme: Name
    source: str
    epoch: Count
    pretraining: str
    weights: str
    source_accuracy: Share | None
    images: Count
    settings: dict[str, Any]
    table: Annotated[list[dict[str, Any]], AfterValidator(_check_table)]
    counts: list[dict[str, int | bool]]
    notes: list[str]

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return SCORES
