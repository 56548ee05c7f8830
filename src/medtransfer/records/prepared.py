"""A prepared target on disk: its record, its index and its memory-mapped arrays."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field

from medtransfer.config import Name
from medtransfer.config.loaded_files import prepare_command
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256
from medtransfer.records.arrays import map_array
from medtransfer.records.base import TARGET, Channels, Count, Record, Regions, Side, input_channels, remedy_of
from medtransfer.records.image_rule import StoredRule
from medtransfer.records.tables import read_table
from medtransfer.records.untrusted import require_file

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class TargetInfo(Record):
    """Contents of `dataset.json`.

    Attributes:
        target: name of the target.
        reader: reader that made it, a key of READERS.
        task: what its labels are for, a key of TASKS, or `none`.
        citation: publication of the dataset.
        classes: names of the non-background classes; label c of a mask is classes[c - 1]. Of whole images all classes in their
            order, of a binary task the positive one.
        channels: channels of the stored images; a grey image is repeated to 3 when it is loaded.
        input: (height, width) of a model's input, in pixels.
        augmentation: name of the training augmentation, `rotate-flip`, `affine` or `rotate-crop`.
        scaling: how raw intensities became uint8, for people.
        counts: samples per split.
        expected: samples per split of the full dataset, or of `all`; empty if none are published.
        subset: whether fewer samples than expected were declared.
        sources: SHA-256 of every source file, by path below the raw folder.
        arrays: SHA-256 of images.npy, of the labels if there are any, and of index.csv.
        settings: the parameters that it was prepared with.
        image_rule: how raw images became its pictures, the fields of an `ImageRule`; None where that is unknown.
        ignore: whether labels of pixels may be IGNORE.
        regions: class numbers of each region by its name: unions of classes that may overlap, which are judged beside the classes.
    """

    target: Name
    reader: str
    task: Name
    citation: str
    classes: Annotated[list[str], Field(max_length=254)]
    channels: Channels
    input: Annotated[list[Side], Field(min_length=2, max_length=2)]
    augmentation: str
    scaling: str
    counts: dict[str, Count]
    expected: dict[str, Count]
    subset: bool
    sources: dict[str, str]
    arrays: dict[Name, str]
    settings: dict[str, Any]
    image_rule: StoredRule | None = None
    ignore: bool = False
    regions: Regions = field(default_factory=dict)

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return TARGET

    @classmethod
    def added(cls) -> frozenset[str]:
        """Return the fields that older files lack."""
        return frozenset({"image_rule", "regions"})

    @property
    def input_channels(self) -> int:
        """Channels of the images that encoders get."""
        return input_channels(self.channels)

    @property
    def fingerprint(self) -> str:
        """Return 12 hexadecimal digits that change when any image, label, split, class or region does."""
        regions = [self.regions] if self.regions else []
        return digest([self.arrays, self.classes, self.input, self.augmentation, *regions])

    @property
    def raw(self) -> str:
        """Return 12 hexadecimal digits of the source files' content, whatever their names and the size of the images."""
        return digest(sorted(self.sources.values()))


TARGET_FILE, IMAGES_FILE, INDEX_FILE = "dataset.json", "images.npy", "index.csv"
MASKS_FILE = "masks.npy"  # labels of pixels; the labels of other tasks have files of their own
LABELS_FILE = "labels.npy"  # labels of images: (N,), or (N, L) of L independent ones
IMAGE_TASKS = ("binary", "multilabel", "multiclass", "ordinal")  # tasks whose labels are those of whole images
LabelKind = Literal["pixels", "one", "several"]
IGNORE = 255  # label of pixels, or of an image, that is left out of loss and metrics
UNCERTAIN = 254  # label of an image that the target's rule for uncertain labels resolves
_VERIFIED: set[tuple[str, int, int, str | None]] = set()  # files whose hash this process has already checked
INDEX_COLUMNS = ("sample", "row", "split", "group", "source", "slice", "top", "left", "height", "width")
SPACING_COLUMNS = ("pixel_height", "pixel_width")  # mm of a stored pixel, empty if unknown; only where some are known


@dataclass(frozen=True)
class PreparedTarget:
    """A prepared target on disk: `dataset.json`, `index.csv`, and arrays of images and labels that are mapped, not read.

    Each row of the index is one sample: the window (top, left, height, width; pixels) of row `row` of the arrays.

    Attributes:
        folder: its folder.
        info: contents of `dataset.json`.
        joined: whether the file's validation samples are training samples here.
        held_out: training groups (patients) whose samples are validation samples here, whatever the file says.
        drawn: positions among the other training samples of those that are trained on, in their order; several times the same
            if it is repeated. None: all.
    """

    folder: Path
    info: TargetInfo
    joined: bool = False
    held_out: frozenset[str] = frozenset()
    drawn: tuple[int, ...] | None = None

    @classmethod
    def open(cls, folder: Path) -> "PreparedTarget":
        """Open a prepared target; a missing or foreign one is an InputError."""
        return cls(folder, TargetInfo.read(folder / TARGET_FILE))

    @property
    def has_masks(self) -> bool:
        """Whether its labels are labels of pixels."""
        return MASKS_FILE in self.info.arrays

    @property
    def label_kind(self) -> LabelKind | None:
        """What has labels: `pixels`; images, each `one` out of several or `several` at once; nothing."""
        if self.info.task in IMAGE_TASKS:
            return "several" if self.info.task == "multilabel" else "one"
        return "pixels" if self.has_masks else None

    @cached_property
    def images(self) -> "np.ndarray":
        """Map the images, uint8 (N, H, W, C)."""
        return self._map(IMAGES_FILE, (None, None, None, self.info.channels))

    @cached_property
    def masks(self) -> "np.ndarray":
        """Map the masks, uint8 (N, H, W), 0 is background."""
        return self._map(MASKS_FILE, self.images.shape[:3])

    @cached_property
    def image_labels(self) -> "np.ndarray":
        """Map the labels of images, uint8 (N,), or (N, L) of L independent labels."""
        count, several = len(self.images), self.info.task == "multilabel"
        return self._map(LABELS_FILE, (count, len(self.info.classes)) if several else (count,))

    @cached_property
    def index(self) -> "pd.DataFrame":
        """Index, one row per sample: INDEX_COLUMNS, and SPACING_COLUMNS (NaN if unknown) where the reader knows some."""
        import pandas as pd

        path = self.folder / INDEX_FILE
        remedy = remedy_of(TARGET, path)
        table = read_table(path, remedy)
        if table.columns not in (INDEX_COLUMNS, (*INDEX_COLUMNS, *SPACING_COLUMNS)):
            raise InputError(
                f"expected the columns {', '.join(INDEX_COLUMNS)} in {path}, but got {', '.join(table.columns)[:200]}; {remedy}"
            )
        frame = pd.DataFrame(table.rows, columns=list(table.columns), dtype=str)  # a patient may be called NA or 0012
        for name in (name for name in INDEX_COLUMNS if name not in {"group", "source", "split"}):
            whole = frame[name].str.fullmatch(r"[0-9]{1,15}")
            if not whole.all():
                row = int(whole.to_numpy(bool).argmin())
                raise InputError(
                    f"expected a non-negative whole number in the column {name!r} of {path}, but got {table.rows[row]} in line "
                    f"{table.lines[row]}; {remedy}"
                )
            frame[name] = frame[name].astype("int64")
        for name in table.columns[len(INDEX_COLUMNS) :]:
            lengths = pd.to_numeric(frame[name].where(frame[name] != "", "nan"), errors="coerce")
            wrong = (frame[name] != "") & ~((lengths > 0) & (lengths < float("inf")))
            if wrong.any():
                row = int(wrong.to_numpy(bool).argmax())
                raise InputError(
                    f"expected a positive length in mm or nothing in the column {name!r} of {path}, but got {table.rows[row]} in "
                    f"line {table.lines[row]}; {remedy}"
                )
            frame[name] = lengths.astype("float64")
        if self.joined:
            frame.loc[frame["split"] == "validation", "split"] = "train"
        frame.loc[(frame["split"] == "train") & frame["group"].isin(self.held_out), "split"] = "validation"
        return frame

    def samples(self, split: str) -> "pd.DataFrame":
        """Return the index rows of one split; an empty one is an InputError."""
        lines = self.index[self.index["split"] == split]
        if lines.empty:
            known = ", ".join(sorted(self.index["split"].unique()))
            raise InputError(f"expected samples of the split {split!r} in {self.folder / INDEX_FILE}, but it holds {known}")
        if split == "train" and self.drawn is not None:
            lines = lines.iloc[list(self.drawn)]
        return lines.reset_index(drop=True)

    def verify(self) -> Self:
        """Compare index and arrays, those of the labels too, with the record; unchanged files once per process.

        Raises:
            InputError: the split has no samples.
        """
        _ = self.images, self.index  # what is wrong with their form is said first
        for name in dict.fromkeys((IMAGES_FILE, INDEX_FILE, *self.info.arrays)):
            path, expected = self.folder / name, self.info.arrays.get(name)
            if path.suffix == ".npy":
                map_array(path, remedy_of(TARGET, path))
            require_file(path, "what was prepared", remedy_of(TARGET, path))
            state = (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns, expected)
            if state not in _VERIFIED and file_sha256(path) != expected:
                raise InputError(
                    f"expected {path} as it was prepared (SHA-256 {str(expected)[:12]}… in dataset.json), but the file differs; "
                    f"{remedy_of(TARGET, path, again=True)}"
                )
            _VERIFIED.add(state)
        return self

    def fits(self, multiple: int) -> bool:
        """Return whether both sides of the images are multiples of this many pixels."""
        height, width = self.info.input
        return not (height % multiple or width % multiple)

    def require_size(self, multiple: int, encoder: str, prepared: bool = True) -> None:
        """Check that an encoder accepts the size of the images.

        Args:
            multiple: both sides must be multiples of this many pixels.
            encoder: its name, for the message.
            prepared: whether `prepare` made the target; else the option `--size` of the command that did so counts.

        Raises:
            InputError: a side is not.
        """
        if self.fits(multiple):
            return
        height, width = self.info.input
        fitting = [max(1, round(side / multiple)) * multiple for side in (height, width)]
        sides = ",".join(map(str, dict.fromkeys(fitting)))
        size = f"--size {sides}"
        remedy = f"set the size to {sides} (`{size}`)"
        if self.info.settings.get("size") != self.info.input:
            remedy = f"prepare the target again with windows of {fitting[0]}x{fitting[1]} pixels"
        elif prepared:
            remedy = f"prepare the target again with `{prepare_command(self.folder.name, size)}`"
        raise InputError(
            f"expected images whose sides are multiples of {multiple} pixels for the encoder {encoder}, but got "
            f"{height}x{width} in {self.folder}; {remedy}"
        )

    def _map(self, name: str, shape: tuple[int | None, ...]) -> "np.ndarray":
        """Map an array of a known shape; None is a side of any length."""
        path = self.folder / name
        remedy = remedy_of(TARGET, path)
        array = map_array(path, remedy)
        fits = array.ndim == len(shape) and all(side in {None, length} for side, length in zip(shape, array.shape, strict=True))
        if array.dtype != "uint8" or not fits:
            wanted = ", ".join("any" if side is None else str(side) for side in shape)
            raise InputError(
                f"expected an array uint8 of shape ({wanted}) in {path}, but got {array.dtype} {array.shape}; {remedy}"
            )
        return array


def write_index(folder: Path, rows: Iterable[Sequence[object]], spacings: Sequence[tuple[float, float] | None]) -> None:
    """Write the index of a target that is being prepared.

    Args:
        folder: folder of the target.
        rows: a value for each of INDEX_COLUMNS.
        spacings: (height, width) of a pixel of each row, mm; None if unknown.
    """
    known = any(spacings)
    with (folder / INDEX_FILE).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow((*INDEX_COLUMNS, *(SPACING_COLUMNS if known else ())))
        for row, spacing in zip(rows, spacings, strict=True):
            lengths = [f"{length:.6g}" for length in spacing] if spacing else ["", ""]
            writer.writerow((*row, *(lengths if known else ())))
