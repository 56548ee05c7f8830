"""Images to predict: pictures, stacks of pages, volumes and DICOM series, read by a model's rule."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from medtransfer.data.intensities import Limits, require_finite
from medtransfer.data.picture_folders import SUFFIXES, require_readable
from medtransfer.data.volumes import ENDINGS, TIFF, Geometry, Volume, acquisition_axis, cut, load_volume
from medtransfer.data.volumes.channels import load_channels, read_channel_geometries
from medtransfer.data.volumes.dicom import find_series, read_series
from medtransfer.data.volumes.dicom_tags import describe_series, is_dicom
from medtransfer.data.volumes.geometry import UNKNOWN
from medtransfer.errors import InputError
from medtransfer.predict.pixels import convert_channels, intensity_rule, require_channels, scale, take_channels
from medtransfer.prepare.conversions import Conversions
from medtransfer.prepare.picture_files import read_header, read_image, read_stored
from medtransfer.prepare.readers.contract import match_group
from medtransfer.prepare.shared_scaling import SharedScaling
from medtransfer.records import ImageRule
from medtransfer.records.folders import LITTER
from medtransfer.wording import are, composed

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Image:
    """An image to predict.

    Attributes:
        name: its path below the folder, without the ending, in composed letters; its file name if it was named itself.
        path: the file, or the folder of a series.
        files: all files that it is read from.
        is_volume: whether it is a volume; otherwise it is a picture.
        parts: files of its channels, or folders of their series, where each has its own; else empty.
        series: what its files say of the DICOM series, by the names of the tags; empty for other images.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    is_volume: bool
    parts: tuple[Path, ...] = ()
    series: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_dicom(self) -> bool:
        """Whether it is read from DICOM files."""
        return not self.files[0].name.lower().endswith((*SUFFIXES, *ENDINGS)) and is_dicom(self.files[0])


@dataclass(frozen=True)
class Pixels:
    """The slices of an image as a model's target stores pictures; a picture is one slice.

    Attributes:
        slices: uint8 (N, H, W, channels).
        geometry: of a volume; None for a picture.
        axis: axis of the volume that its slices are cut along.
    """

    slices: np.ndarray
    geometry: Geometry | None
    axis: int = 2


def list_images(path: Path, mask_suffix: str = "") -> list[Image]:
    """List the images at a path, and log which files are passed over and which series share a folder; see `find_images`."""
    images, passed_over = find_images(path, mask_suffix)
    shared = Counter(image.path for image in images if image.series)
    for image in images:
        if shared[image.path] > 1:
            tags = ", ".join(f"{name} {value}" for name, value in image.series.items())
            log.info("predict: %s is one of %d series in %s: %s", image.name, shared[image.path], image.path, tags)
    if passed_over:
        said = are(len(passed_over), "file")
        log.warning("predict: %s passed over in %s, such as %s, since only images are read", said, path, passed_over[0].name)
    return images


def find_images(path: Path, mask_suffix: str = "") -> tuple[list[Image], list[Path]]:
    """Find the images at a path.

    Args:
        path: a picture, a NIfTI volume, a DICOM file, or a folder of any of them, subfolders included.
        mask_suffix: what the names of masks end with, which are no images; empty: all are images.

    Returns:
        The images, and the files of a folder that are passed over.

    Raises:
        InputError: there are none, or two have the same name.
    """
    if not path.exists():
        raise InputError(f"expected an image, or a folder of images, at {path}, but it does not exist; correct predict.images")
    if not path.is_dir():
        image = image_of(path, path.name) or (_single_slice(path) if is_dicom(path) else None)
        if image is None:
            raise InputError(
                f"expected a picture ({', '.join(SUFFIXES)}), a NIfTI volume ({', '.join(ENDINGS)}) or a DICOM file, "
                f"but got {path}, which is none of them; convert it"
            )
        return [image], []
    require_readable(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not is_hidden(file, path))
    images, others = [], []
    for file in files:
        image = image_of(file, file.relative_to(path).as_posix())
        if image is None:
            others.append(file)
        elif not (mask_suffix and image.name.endswith(mask_suffix)):
            images.append(image)
    images += _list_series(path, others)
    read = {file for image in images for file in image.files}
    names: dict[str, Image] = {}
    for image in images:
        if (other := names.setdefault(image.name, image)) is not image:
            raise InputError(f"expected one image per name in {path}, but got {other.path} and {image.path}; rename one")
    if not images:
        raise InputError(f"expected images in {path}, but there are none; correct predict.images")
    return images, [file for file in others if file not in read]


def is_hidden(file: Path, folder: Path) -> bool:
    """Return whether a file, or a folder between it and the given one, is hidden or made by the system."""
    return any(part.startswith(LITTER) for part in file.relative_to(folder).parts)


def image_of(file: Path, relative: str) -> Image | None:
    """Return the image that a picture or volume is, named by its path without the ending; None for other files."""
    lower = relative.lower()
    for ending in (*ENDINGS, *SUFFIXES):
        if lower.endswith(ending):
            is_volume = ending in ENDINGS or (ending in TIFF and count_pages(file) > 1)
            return Image(composed(relative[: -len(ending)]), file, (file,), is_volume)
    return None


def count_pages(file: Path) -> int:
    """Count the pages of a picture; 1 for a broken one."""
    try:
        with Picture.open(file) as picture:
            return getattr(picture, "n_frames", 1)
    except (OSError, ValueError, SyntaxError):  # what is wrong with it is said when it is read
        return 1


def _single_slice(path: Path) -> Image:
    return Image(composed(path.stem), path, (path,), True, series=describe_series(path))


def _list_series(folder: Path, files: Sequence[Path]) -> list[Image]:
    """List the DICOM series of a folder.

    One that is alone in its folder has the folder's name. Others end in their SeriesNumber, or if one lacks it or two have the
    same, in their place in the order of their UIDs.
    """
    images, by_folder = [], dict[Path, list[Path]]()
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    for parent, inside in by_folder.items():
        series = find_series(inside)
        name = composed(folder.name if parent == folder else parent.relative_to(folder).as_posix())
        described = [describe_series(members[0]) for members in series.values()]
        numbers = [tags.get("SeriesNumber", "") for tags in described]
        if "" in numbers or len(set(numbers)) < len(numbers):
            numbers = [str(number) for number in range(1, len(series) + 1)]
        for members, tags, number in zip(series.values(), described, numbers, strict=True):
            own = name if len(series) == 1 else f"{name}-{number}"
            images.append(Image(own, parent, tuple(members), True, series=tags))
    return images


def open_volume(image: Image, rule: ImageRule) -> Volume:
    """Read a volume of any format, with the channels that the rule takes."""
    if image.parts:
        count = sum(geometry.channels for geometry in read_channel_geometries(image.parts))
        require_channels(count, rule, f"the files of {image.name}")
        return load_channels(image.parts, rule.channels or range(count))
    volume = open_whole(image)
    if volume.values.shape[-1] == 1 and (least := max(rule.channels or [0]) + 1) > 1:
        raise InputError(
            f"expected at least {least} channels in {image.path}, as the model's target has, but got 1; where every channel is a "
            "file, name them with predict.channels"
        )
    return Volume(take_channels(volume.values, rule, str(image.path)), volume.geometry)


def open_whole(image: Image) -> Volume:
    """Read a volume of one file or series, with all its channels."""
    if image.path.name.lower().endswith((*ENDINGS, *TIFF)):
        return load_volume(image.path)
    return Volume(*read_series(image.files))


def why_no_picture(image: Image) -> str:
    """Return why the header of a picture cannot be read; empty if it can, and of a volume, which is not looked at."""
    if not (image.is_volume or image.parts):
        try:
            read_header(image.path)
        except InputError as error:
            return str(error)
    return ""


def read_pixels(
    image: Image, rule: ImageRule, channels: int, limits: list[Limits] | None, conversions: Conversions | None = None
) -> Pixels:  # fmt: skip
    """Read an image as the pictures of a target were read.

    Args:
        image: the image.
        rule: image rule of the model.
        channels: channels of the model's stored pixels.
        limits: what becomes 0 and 255, of each channel, where other images count, too; see `shared_limits`.
        conversions: notes whether the image is coloured or transparent; None: it is not looked at.

    Raises:
        InputError: the image is broken, or does not fit the rule.
    """
    if not (image.is_volume or image.parts):
        if channels not in (1, 3):
            raise InputError(
                f"expected the {channels} channels that the model takes, but {image.path} is a picture; name the files of the "
                "channels with predict.channels"
            )

        def scaling(values: np.ndarray, path: Path) -> np.ndarray:
            return scale(values[None, ..., None], rule, str(path), limits)[0, ..., 0]

        return Pixels(read_image(image.path, channels, scaling, conversions)[None], None)
    volume = open_volume(image, rule)
    if rule.axes and volume.geometry.axes not in (UNKNOWN, *rule.axes.split(",")):
        log.warning(
            "predict: the axes of %s point to %s, but those of the volumes that the model was trained on to %s: its slices are "
            "predicted as they are stored, and may be turned or of another plane; store it with these axes", image.path,
            volume.geometry.axes, rule.axes.replace(",", " or "),
        )  # fmt: skip
    if channels == 1 and volume.values.shape[-1] != 1 and image.path.name.lower().endswith(ENDINGS):
        raise InputError(
            f"expected a volume of 1 channel, as the model's target has, but {image.path} has {volume.values.shape[-1]}, which may "
            "be frames or sequences; give a file of the one to predict"
        )
    axis = acquisition_axis(volume.geometry.spacing) if rule.axis is None else rule.axis
    slices = cut(volume.values, axis)
    pixels = slices if volume.geometry.shown else scale(slices, rule, str(image.path), limits)
    if conversions is not None and channels == 1 and pixels.shape[-1] == 3:
        conversions.see_slices(image.path, pixels)
    stored = convert_channels(np.ascontiguousarray(pixels), channels)
    return Pixels(stored, volume.geometry if image.is_volume else None, axis)


def shared_limits(images: Sequence[Image], rule: ImageRule) -> dict[str, list[Limits] | None]:
    """Return what becomes 0 and 255 in each image, by its name, where a group has one scale: of those among `images`.

    Raises:
        InputError: the expression for a group does not match a name.
    """
    if rule.over != "group" or rule.group is None:
        return {image.name: None for image in images}
    groups: dict[str, list[Image]] = {}
    for image in images:
        groups.setdefault(match_group(image.name, rule.group, image.path), []).append(image)

    def read(image: Image) -> np.ndarray:
        if image.is_volume or image.parts:
            return require_finite(open_volume(image, rule).values, image.path)
        return require_finite(read_stored(image.path), image.path)[..., None]

    limits: dict[str, list[Limits] | None] = {}
    for members in groups.values():
        wide = [image for image in members if image.is_volume or image.parts or read_header(image.path).wide]
        shared = SharedScaling(wide, read, intensity_rule(rule)).limits if wide else None
        limits |= {image.name: shared for image in members}
    return limits
