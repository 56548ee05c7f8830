"""Reference masks of images: told from images that are to be predicted, found by name, and read onto slices."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from medtransfer.data.picture_folders import require_readable
from medtransfer.data.volumes import cut, round_labels
from medtransfer.data.volumes.dicom import is_segmentation
from medtransfer.errors import InputError
from medtransfer.predict.images import Image, Pixels, find_images, image_of, is_hidden, open_whole
from medtransfer.prepare.mask_values import MaskRule
from medtransfer.prepare.mask_volumes import read_mask_volume
from medtransfer.prepare.picture_files import check_same_size, read_mask, read_stored
from medtransfer.wording import composed

WORDS = {"annotation", "ground", "groundtruth", "gt", "label", "manual", "mask", "seg", "segmentation"}  # also in the plural
MOST_LABELS = 16  # different values of a mask at most


def refuse_masks(images: Sequence[Image], path: Path) -> None:
    """Check that there are no masks among the images of a folder, which would be predicted like images.

    A mask is named like an image of its folder with an ending, such as `_gt`, or is in a folder of masks and named like an image
    elsewhere. An ending without one of WORDS counts if the file has at most MOST_LABELS whole numbers and its image has more.

    Raises:
        InputError: there are some.
    """
    by_suffix: dict[str, list[tuple[Image, Image]]] = {}
    for pair, suffix in _named_alike(images):
        by_suffix.setdefault(suffix, []).append(pair)
    endings = [suffix for suffix, pairs in by_suffix.items() if _says_mask(suffix) or _is_mask_of(*pairs[0])]
    masks = [mask for suffix in endings for mask, _ in by_suffix[suffix]]
    inside = [image for image in _in_mask_folders(images) if image not in masks]
    if not masks and not inside:
        return
    if inside:
        remedy = "name the folder of the images alone"
    elif len(endings) == 1:
        remedy = f"add `--mask-suffix {endings[0]}`"
    else:
        remedy = f"move what is named *{', *'.join(sorted(endings))} to another folder"
    raise InputError(
        f"expected only images to predict in {path}, but {len(masks) + len(inside)} of the {len(images)} files seem to be masks of "
        f"others, such as {(masks + inside)[0].path}; {remedy}, or predict them like images with `--mask-suffix ''`"
    )


def _named_alike(images: Sequence[Image]) -> Iterator[tuple[tuple[Image, Image], str]]:
    """Yield each image whose name is that of another one and an ending: both, and the ending.

    One whose ending says that it is a mask is named like others with endings, too: `case_seg` beside `case_t1`.
    """
    named = {image.name: image for image in images}
    beside = {begun[0]: image for image in images if (begun := _beginnings(image.name)) and not _says_mask(_ending(image.name))}
    for image in images:
        begun = _beginnings(image.name)
        owner = next((name for name in begun if name in named), None)
        if owner is not None:
            yield (image, named[owner]), image.name.removeprefix(owner)
        elif begun and begun[0] in beside and _says_mask(ending := _ending(image.name)):
            yield (image, beside[begun[0]]), ending


def _ending(name: str) -> str:
    """Return the shortest ending of a name, of those that `_beginnings` leaves; empty if there is none."""
    begun = _beginnings(name)
    return name.removeprefix(begun[0]) if begun else ""


def _beginnings(name: str) -> list[str]:
    """Return the parts of a name before each character of its last component that is no letter or digit, the longest first."""
    first = name.rfind("/") + 1
    return [name[: match.start()] for match in re.finditer(r"[^0-9A-Za-z/]", name) if match.start() > first][::-1]


def _says_mask(text: str) -> bool:
    return any(word in WORDS or word.removesuffix("s") in WORDS for word in map(str.lower, re.findall("[A-Z]?[a-z]+|[A-Z]+", text)))


def _is_mask_of(mask: Image, image: Image) -> bool:
    """Return whether a file has few values, all of them whole numbers, and the image that it is named like has more."""

    def values(of: Image) -> np.ndarray:
        return np.unique(open_whole(of).values if of.is_volume else read_stored(of.path))

    labels = np.unique(round_labels(values(mask)))
    return len(labels) <= MOST_LABELS and bool((labels == labels.round()).all()) and len(values(image)) > MOST_LABELS


def _in_mask_folders(images: Sequence[Image]) -> list[Image]:
    """Return the images in folders of masks that are named like images in other folders, but for endings.

    Where all images are below such a folder, as in one of the name `Infection Segmentation Data`, the innermost folder counts.
    """
    folders = {image.name: PurePosixPath(image.name).parts[:-1] for image in images}
    inside = {name for name, parts in folders.items() if any(map(_says_mask, parts))}
    if len(inside) == len(images):
        inside = {name for name, parts in folders.items() if _says_mask(parts[-1])}
    stems = {PurePosixPath(image.name).name for image in images if image.name not in inside}
    begun = stems | {beginning for stem in stems for beginning in _beginnings(stem)}  # nnU-Net: case_0000 and the mask case

    def belongs(stem: str) -> bool:
        return stem in begun or any(beginning in stems for beginning in _beginnings(stem))

    return [image for image in images if image.name in inside and belongs(PurePosixPath(image.name).name)]


def _fitting_suffix(images: Sequence[Image], files: Mapping[str, Path]) -> str | None:
    """Return the ending by which every image has a file of its name, other than the images; None unless there is a single one.

    If there are several, one that says "mask" or the like counts.
    """
    first, own = images[0].name, {image.path.resolve() for image in images}
    endings = [name.removeprefix(first) for name in files if name.startswith(first)]
    found = {name for name, path in files.items() if path.resolve() not in own}
    fitting = [
        end for end in endings if not end[:1].isalnum() and all(f"{image.name}{end}" in found for image in images)
    ]  # fmt: skip
    named = [end for end in fitting if _says_mask(end)]
    return next((ends[0] for ends in (fitting, named) if len(ends) == 1), None)


def find_masks(images: Sequence[Image], path: Path, suffix: str) -> dict[str, Path]:
    """Return the file of each image's reference mask, by the image's name.

    Args:
        images: the images.
        path: a file for a single image, or a folder with masks of the images' names followed by `suffix`.
        suffix: such as `_mask`.

    Raises:
        InputError: `path` does not exist, or a mask is missing.
    """
    if not path.exists():
        raise InputError(f"expected reference masks of the images at {path}, but it does not exist; correct predict.masks")
    if not path.is_dir():
        if len(images) != 1:
            raise InputError(f"expected a folder of masks for {len(images)} images, but got the file {path}; name the folder")
        return {images[0].name: path}
    files = _list_masks(path)
    masks = {name: file for name, file in files.items() if name.endswith(suffix)}
    if missing := [image for image in images if f"{image.name}{suffix}" not in masks]:
        remedy = "correct predict.masks (--masks) or predict.mask_suffix (--mask-suffix)"
        if (fitting := _fitting_suffix(images, files)) is not None:
            remedy = f"the suffix that fits is set by `--mask-suffix {shlex.quote(fitting)}`"
        raise InputError(
            f"expected a mask in {path} for every image, but {missing[0].path} has none named {missing[0].name}{suffix} "
            f"({len(missing)} such); {remedy}"
        )
    found = {image.name: masks[f"{image.name}{suffix}"] for image in images}
    if series := [path for path in found.values() if path.is_dir()]:
        raise InputError(
            f"expected reference masks as pictures, NIfTI volumes or DICOM segmentations, but {series[0]} is a series of DICOM "
            "slices; convert it to one of these"
        )
    return found


def _list_masks(folder: Path) -> dict[str, Path]:
    """Return the masks in a folder by their names: files as `find_images` finds them, and DICOM segmentations."""
    require_readable(folder)
    files = [file for file in folder.rglob("*") if file.is_file() and not is_hidden(file, folder)]
    segmentations = {
        composed(file.relative_to(folder).with_suffix("").as_posix()): file
        for file in files if not image_of(file, file.name) and is_segmentation(file)
    }  # fmt: skip
    images = {image.name: image.path for image in find_images(folder)[0]} if len(segmentations) < len(files) else {}
    return images | segmentations


def read_reference(image: Image, pixels: Pixels, path: Path, rule: MaskRule) -> np.ndarray:
    """Read the reference mask of an image onto its slices: uint8 (N, H, W), 0 background, c the c-th class, or IGNORE.

    Raises:
        InputError: it is broken, or has another geometry or unknown values.
    """
    if pixels.geometry is None:
        raw = read_mask(path, grey_palette=rule.table is None)
        check_same_size(pixels.slices[0], raw.values, image.path, path)
        return rule.number(raw, path)[None]
    return cut(read_mask_volume(path, pixels.geometry, rule), pixels.axis)
