"""What all readers of classified images share: from images with their labels to the samples of a target.

Options, beside those of each reader:

    group        regular expression whose first group is the patient, such as `(patient\\d+)/`; null: every image is its own
    channels     1 or 3; null: 1 where all images are grey; 1 also reads the grey of pictures that are stored as colour
    scaling      of DICOM, 16-bit and float grey: image, group or dataset, whose percentiles become 0 and 255; [low, high]; a rule
                 such as {percentiles: [1, 99], over: dataset}; or, for DICOM, a list of windows, one per channel:
                 [[-1350, 150], [-250, 450], [-160, 240]]
    keep_aspect  true: pad to `size` instead of squeezing
    augmentation of training images: affine, or rotate-flip, which also turns them upside down

The labels of a target are uint8: 0 or 1 (binary), the index of a class (multiclass and ordinal), or 0, 1, IGNORE or UNCERTAIN
for each class (multilabel).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.intensities import read_intensity_rule, require_finite, scale_to_window
from medtransfer.data.resizing import Size, resize_image
from medtransfer.data.volumes.dicom import read_slice
from medtransfer.errors import InputError
from medtransfer.prepare.conversions import Conversions
from medtransfer.prepare.faults import attempt_all
from medtransfer.prepare.picture_files import Header, read_header, read_image, read_stored
from medtransfer.prepare.picture_notes import describe_conversions, describe_headers
from medtransfer.prepare.readers.contract import Item, Labels, Picture, Scan, check_kinds, whole_picture
from medtransfer.prepare.shared_scaling import DatasetScaling
from medtransfer.progress import track
from medtransfer.records import IMAGE_TASKS, LABELS_FILE

OPTIONS: dict[str, Any] = {
    "group": None, "channels": None, "scaling": "image", "keep_aspect": False, "augmentation": "affine",
}  # fmt: skip
AUGMENTATIONS = ("affine", "rotate-flip")
DICOM = (".dcm", ".dicom")


@dataclass(frozen=True)
class LabelledImage:
    """An image with its labels.

    Attributes:
        split: published split, None if there is none.
        group: the patient.
        path: its file.
        labels: uint8, a number or (classes,).
    """

    split: str | None
    group: str
    path: Path
    labels: np.ndarray


@dataclass(frozen=True)
class _Reading:
    """What the images of one dataset are read with."""

    channels: int
    size: Size
    keep_aspect: bool
    scaling: DatasetScaling[Path]
    windows: Sequence[tuple[float, float]]
    keep_bytes: bool
    conversions: Conversions

    def load(self, image: LabelledImage) -> Iterator[Picture]:
        """Read an image."""
        pixels = self._read(image.path)
        yield Picture(resize_image(pixels, self.size, self.keep_aspect), image.labels, 0)

    def _read(self, path: Path) -> np.ndarray:
        if not is_dicom_name(path):
            return read_image(path, self.channels, self._scale, self.conversions)
        values = read_slice(path)  # (h, w)
        if self.windows:
            return np.stack([scale_to_window(values, low, high, path) for low, high in self.windows], axis=-1)
        grey = values if self.keep_bytes and values.dtype == np.uint8 else self._scale(values, path)
        return np.repeat(grey[..., None], self.channels, axis=-1)

    def _scale(self, values: np.ndarray, path: Path) -> np.ndarray:
        return self.scaling.scale(path, values[..., None], path)[..., 0]


def is_dicom_name(path: Path) -> bool:
    """Return whether a file is named as DICOM files are."""
    return path.suffix.lower() in DICOM


def scan_images(
    images: Sequence[LabelledImage], root: Path, size: Size, chosen: Mapping[str, Any], *, task: str, classes: Sequence[str],
    citation: str, expected: Mapping[str, int], tables: Sequence[Path] = (), notes: Sequence[str] = (),
    left_out: Mapping[str, int] | None = None,
) -> Scan:  # fmt: skip
    """Describe a dataset of classified images; only headers are read.

    Args:
        images: images with their labels.
        root: folder of the dataset.
        size: (height, width) of the stored pictures, pixels.
        chosen: options, those of this module among them.
        task: one of IMAGE_TASKS.
        classes: names of the classes, of a binary task that of the positive one.
        citation: citation of the dataset.
        expected: official counts, see `Scan`.
        tables: files that the labels and splits are from; a change makes the target again.
        notes: what the reader has to say.
        left_out: samples of each split that the options leave out.

    Raises:
        InputError: an option is invalid, or a file is no picture.
    """
    check_image_options(chosen)
    if not images:
        raise InputError(f"expected labelled images in {root}, but there are none; check the layout, `root` and `options`")
    headers = _read_headers([image.path for image in images])
    windows = _read_windows(chosen["scaling"])
    if windows and headers:
        raise InputError(f"expected DICOM files for several windows in the option scaling, but got {next(iter(headers))}")
    wide = {image.path: image.group for image in images if image.path not in headers or headers[image.path].wide}
    scaling = DatasetScaling(
        "image" if windows else chosen["scaling"], "image", list(wide), list(wide.values()), _read_wide, lambda path: [path]
    )
    grey = all(header.grey for header in headers.values())
    channels = len(windows) or chosen["channels"] or (1 if grey else 3)
    reading = _Reading(channels, size, chosen["keep_aspect"], scaling, windows, chosen["scaling"] == "image", Conversions())
    items = tuple(
        Item(
            image.split, image.group, image.path.relative_to(root).as_posix(), (image.path, *tables), 1,
            partial(reading.load, image),
        )
        for image in images
    )  # fmt: skip

    def see_splits(splits: Sequence[str]) -> None:
        scaling.restrict({image.path for image, split in zip(images, splits, strict=True) if split == "train"})

    described = describe_headers(list(headers), list(headers.values()), size, chosen["keep_aspect"], scaling.apart)
    shape = (len(classes),) if task == "multilabel" else ()
    return Scan(
        tuple(classes), channels, size, chosen["augmentation"], citation, lambda: _describe_scaling(windows, scaling), expected,
        whole_picture(size), items, task=task, labels=Labels(LABELS_FILE, shape), notes=(*notes, *described),
        see_splits=see_splits, left_out=left_out or {}, conversions=reading.conversions,
        loaded_notes=lambda: describe_conversions(reading.conversions, channels),
        image_rule=None if windows else lambda: scaling.image_rule(group=chosen["group"], keep_aspect=chosen["keep_aspect"]),
    )  # fmt: skip


def check_image_options(chosen: Mapping[str, Any]) -> None:
    """Raise InputError for options of this module that cannot be used, and for an unknown task."""
    check_kinds(chosen, {"group": str | None, "keep_aspect": bool})
    choices = {"task": IMAGE_TASKS, "augmentation": AUGMENTATIONS, "channels": (None, 1, 3)}
    for name, known in choices.items():
        if chosen[name] not in known or isinstance(chosen[name], bool):
            listed = ", ".join("null" if value is None else str(value) for value in known)
            raise InputError(f"expected the option {name} to be one of {listed}, but got {chosen[name]!r}")


def _read_headers(paths: Sequence[Path]) -> dict[Path, Header]:
    """Read the headers of all pictures that are not DICOM."""
    pictures = [path for path in paths if not is_dicom_name(path)]
    headers = attempt_all(track(pictures, "prepare: headers", len(pictures), "files"), read_header, lambda path: [path])
    return dict(zip(pictures, headers, strict=True))


def _read_windows(scaling: Any) -> list[tuple[float, float]]:
    """Return (low, high) of each channel where the option scaling lists several windows; empty for other rules."""
    if not isinstance(scaling, list) or not all(isinstance(window, list) for window in scaling):
        return []
    return [read_intensity_rule(window).limits(np.zeros(0)) for window in scaling]


def _describe_scaling(windows: Sequence[tuple[float, float]], scaling: DatasetScaling[Path]) -> str:
    if windows:
        return "windows of the channels: " + "; ".join(f"{low:g} to {high:g}" for low, high in windows) + ", clipped"
    return f"8-bit values kept; DICOM, 16-bit and float grey: {scaling.describe()}"


def _read_wide(path: Path) -> np.ndarray:
    values = read_slice(path) if is_dicom_name(path) else read_stored(path)
    return require_finite(values, path)[..., None]  # (h, w, 1)
