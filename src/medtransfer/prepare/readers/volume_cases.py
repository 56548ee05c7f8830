"""What all readers of volumes share: from the cases of a dataset to the slices of a target.

A volume is cut into slices along the axis of its largest spacing. Options, beside those of each reader:

    group        regular expression whose first group is the patient, such as `(patient\\d+)_`; null: every case is its own
    classes      names of the non-background classes
    labels       raw value -> class name, `background` or `ignore`
    threshold    lowest value of the only class, for masks with values between; null: none
    regions      name -> classes or raw values, such as {whole: [1, 2, 3]}: unions of classes, judged beside them; null: none
    axis         0, 1 or 2 (x, y or z of the file), along which the slices are cut; null: that of the largest spacing
    channels     numbers or names of the channels to take, such as [0] or [T2, ADC]; the first is shown in previews; null: all
    scaling      volume, group or dataset, whose percentiles 0.5 and 99.5 become 0 and 255; [low, high], such as a window in HU; or
                 {percentiles: [1, 99], over: dataset} or {z-score: 3, over: volume}; dataset: its training volumes
    keep_aspect  true: pad to `size` instead of squeezing
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.data.intensities import require_finite
from medtransfer.data.resizing import Size, resize_image, resize_mask, resize_spacing
from medtransfer.data.volumes import Geometry, acquisition_axis, cut, series_files
from medtransfer.data.volumes.channels import load_channels, read_channel_geometries
from medtransfer.errors import InputError
from medtransfer.prepare.faults import attempt_all
from medtransfer.prepare.mask_values import MaskRule
from medtransfer.prepare.mask_volumes import check_mask_volume, read_mask_volume
from medtransfer.prepare.readers.contract import (
    Item,
    Picture,
    Scan,
    check_kinds,
    match_group,
    pixel_labels,
    such_as_group,
    whole_picture,
)
from medtransfer.prepare.readers.volume_axes import axes_of, compare_axes
from medtransfer.prepare.regions import read_regions
from medtransfer.prepare.shared_scaling import DatasetScaling
from medtransfer.progress import track
from medtransfer.records.base import MOST_CHANNELS
from medtransfer.wording import counted

OPTIONS: dict[str, Any] = {
    "group": None, "classes": None, "labels": None, "threshold": None, "regions": None, "axis": None, "channels": None,
    "scaling": "volume", "keep_aspect": False,
}  # fmt: skip
SEVERAL = re.compile(r"(.*\d.*?)[_-][^_-]*\d[^_-]*")  # a name such as patient001_frame12, of a patient and a number


@dataclass(frozen=True)
class Case:
    """A volume with its mask.

    Attributes:
        split: published split, None if there is none.
        name: name, in which the patient is searched.
        images: files of its channels; one file may hold several, and the folder of a DICOM series is one.
        mask: file of its mask.
    """

    split: str | None
    name: str
    images: tuple[Path, ...]
    mask: Path


@dataclass(frozen=True)
class _Reading:
    """What the cases of one dataset are read with."""

    size: Size
    rule: MaskRule
    channels: tuple[int, ...]
    scaling: DatasetScaling[Case]
    keep_aspect: bool

    def load(self, case: Case, axis: int) -> Iterator[Picture]:
        """Read a case and cut it into slices."""
        volume = load_channels(case.images, self.channels)
        geometry, values = volume.geometry, volume.values
        if not geometry.shown:
            values = self.scaling.scale(case, values, case.images[0])
        labels = read_mask_volume(case.mask, geometry, self.rule)
        images, masks = cut(values, axis), cut(labels, axis)
        spacing = resize_spacing(geometry.pixel_spacing(axis), images.shape[1:3], self.size, self.keep_aspect)
        for index, (image, classes) in enumerate(zip(images, masks, strict=True)):
            resized = resize_image(np.ascontiguousarray(image), self.size, self.keep_aspect)
            yield Picture(resized, resize_mask(np.ascontiguousarray(classes), self.size, self.keep_aspect), index, spacing)


def scan_cases(
    cases: Sequence[Case], root: Path, size: Size, chosen: Mapping[str, Any], *, rule: MaskRule, classes: Sequence[str],
    channel_names: Sequence[str] | None, citation: str, notes: Sequence[str] = (),
) -> Scan:  # fmt: skip
    """Describe a dataset of volumes; only headers are read.

    Args:
        cases: volumes with their masks.
        root: folder of the dataset.
        size: (height, width) of the stored pictures, pixels.
        chosen: options, see the module's docstring.
        rule: classes of the raw values of the masks.
        classes: names of the non-background classes.
        channel_names: names of the channels of every case; None: their numbers, as many as most cases have.
        citation: citation of the dataset.
        notes: what the reader wants to say.

    Raises:
        InputError: an option is invalid, the channels of the cases differ, or a mask is not on the voxels of its image.
    """
    check_kinds(chosen, {"group": str | None, "keep_aspect": bool})
    if chosen["axis"] not in (None, 0, 1, 2) or isinstance(chosen["axis"], bool):
        raise InputError(f"expected the option axis to be 0, 1, 2 or null, but got {chosen['axis']!r}")
    regions = read_regions(chosen["regions"], classes, rule)
    progress = track(cases, "prepare: headers", len(cases), "volumes")
    geometries = attempt_all(progress, lambda case: _read_case(case, rule), lambda case: [*_files(case), case.mask])
    files = [_files(case) for case in track(cases, "prepare: lists of files", len(cases), "volumes")]
    sources = [first.relative_to(root).as_posix() for first, *_ in files]
    channels = _choose_channels(cases, geometries, channel_names, chosen["channels"])
    groups = [
        match_group(case.name, chosen["group"], case.images[0]) if chosen["group"] else source
        for case, source in zip(cases, sources, strict=True)
    ]
    raw = [case for case, geometry in zip(cases, geometries, strict=True) if not geometry[0].shown]
    of_raw = [group for group, geometry in zip(groups, geometries, strict=True) if not geometry[0].shown]
    scaling = DatasetScaling(chosen["scaling"], "volume", raw, of_raw, lambda case: _read_finite(case, channels), _files)
    reading = _Reading(size, rule, channels, scaling, chosen["keep_aspect"])
    axes = [acquisition_axis(geometry[0].spacing) if chosen["axis"] is None else chosen["axis"] for geometry in geometries]
    items = tuple(
        Item(
            case.split, group, source, (*read, case.mask), geometry[0].shape[axis], partial(reading.load, case, axis),
        )
        for case, group, source, read, geometry, axis in zip(cases, groups, sources, files, geometries, axes, strict=True)
    )  # fmt: skip
    pairs = [(source, geometry[0], case.mask) for source, geometry, case in zip(sources, geometries, cases, strict=True)]
    all_notes = (*notes, *_describe(cases, geometries, axes, chosen), *compare_axes(pairs))
    return Scan(
        tuple(classes), len(channels), size, "affine", citation,
        lambda: ("8-bit pictures kept; " if len(raw) < len(cases) else "") + scaling.describe(), {}, whole_picture(size), items,
        task="segmentation", labels=pixel_labels(size), notes=all_notes, ignore=rule.ignores, regions=regions,
        see_splits=lambda splits: scaling.restrict({case for case, split in zip(cases, splits, strict=True) if split == "train"}),
        image_rule=lambda: scaling.image_rule(
            group=chosen["group"], channels=list(channels), axis=chosen["axis"], keep_aspect=chosen["keep_aspect"],
            axes=axes_of(geometry[0] for geometry in geometries), of_channels=sum(part.channels for part in geometries[0]),
        ),
    )  # fmt: skip


def _files(case: Case) -> list[Path]:
    return [file for path in case.images for file in (series_files(path) if path.is_dir() else [path])]


def _read_case(case: Case, rule: MaskRule) -> list[Geometry]:
    """Read the headers of a case's channels; they must be on the same voxels, and the mask on them."""
    geometries = read_channel_geometries(case.images)
    check_mask_volume(case.mask, geometries[0], rule)
    return geometries


def _choose_channels(
    cases: Sequence[Case], geometries: Sequence[Sequence[Geometry]], names: Sequence[str] | None, option: Any
) -> tuple[int, ...]:  # fmt: skip
    """Return the numbers of the channels to take."""
    counts = [sum(geometry.channels for geometry in channels) for channels in geometries]
    expected = Counter(counts).most_common(1)[0][0] if names is None else len(names)
    if wrong := [index for index, count in enumerate(counts) if count != expected]:
        named = f" ({', '.join(names)})" if names else ""
        raise InputError(
            f"expected {counted(expected, 'channel')}{named} in every case, but {cases[wrong[0]].images[0]} has {counts[wrong[0]]} "
            f"({len(wrong)} such); complete the case, or move it away"
        )
    names = [str(number) for number in range(expected)] if names is None else list(names)
    if option is not None and (not isinstance(option, list) or not option):
        raise InputError(f"expected the option channels to list numbers or names of {', '.join(names)}, but got {option!r}")
    chosen = []
    for value in range(expected) if option is None else option:
        number = value if type(value) is int else names.index(value) if value in names else -1
        if not 0 <= number < expected:
            raise InputError(f"expected the option channels to list numbers or names of {', '.join(names)}, but got {value!r}")
        chosen.append(number)
    if len(chosen) > MOST_CHANNELS:
        raise InputError(f"expected at most {MOST_CHANNELS} channels, but {cases[0].images[0]} has {len(chosen)}; choose some with "
                         "the option `channels`")  # fmt: skip
    return tuple(chosen)


def _read_finite(case: Case, channels: Sequence[int]) -> np.ndarray:
    return require_finite(load_channels(case.images, channels).values, case.images[0])


def _describe(
    cases: Sequence[Case], geometries: Sequence[Sequence[Geometry]], axes: Sequence[int], chosen: Mapping[str, Any]
) -> Iterator[str]:  # fmt: skip
    """Say what a user may not expect of these volumes."""
    counts = Counter(axes)
    if len(counts) > 1:
        kinds = ", ".join(
            f"{'xyz'[axis]} in {count} such as {cases[axes.index(axis)].images[0]}" for axis, count in counts.most_common()
        )
        yield f"slices are cut along different axes: {kinds}; the option `axis` sets one"
    unknown = [case for case, channels in zip(cases, geometries, strict=True) if channels[0].spacing is None]
    if 0 < len(unknown) < len(cases):
        yield (
            f"{len(unknown)} of {len(cases)} volumes say nothing of their spacing, such as {unknown[0].images[0]}, so there are no "
            "distances in mm"
        )
    patients = Counter(match[1] for case in cases if (match := SEVERAL.fullmatch(case.name)))
    if chosen["group"] is None and 1 < len(patients) < sum(patients.values()):
        patient, count = patients.most_common(1)[0]
        example = such_as_group("(.+)[_-]", [case.name for case in cases])
        yield (
            f"every case is a patient of its own, but {count} are named {patient}_…; if these are one patient, set the option "
            f"`group`{example}, or a draw may put them into training and test"
        )
