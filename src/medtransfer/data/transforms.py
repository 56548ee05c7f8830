"""Augmentation from the params: albumentations transforms by name, checked, and reproducible sample by sample.

A specification is a list of transforms in their order, each a name with its arguments:

    [{HorizontalFlip: {p: 0.5}}, {OneOf: {transforms: [{GaussNoise: {}}, {GaussianBlur: {}}], p: 0.3}}]

Names, arguments and their defaults are those of albumentations (https://albumentations.ai/docs/); so is `p`, the probability
that a transform is applied, whose default is 0.5.
"""

import inspect
import os
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from medtransfer.data.augmentation import Pair, Size
from medtransfer.data.pixels import centre
from medtransfer.data.transform_names import KEY, unknown_transform
from medtransfer.errors import InputError
from medtransfer.records import IGNORE

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else albumentations looks for a newer version online on import
import albumentations as A

Specification = Sequence[Mapping[str, Mapping[str, Any]]]
GROUPS: dict[str, Any] = {"OneOf": A.OneOf, "SomeOf": A.SomeOf, "Sequential": A.Sequential, "RandomOrder": A.RandomOrder}
SINGLE: dict[str, Any] = {
    name: kind for name, kind in vars(A).items()
    if inspect.isclass(kind) and issubclass(kind, A.DualTransform | A.ImageOnlyTransform)
    and kind not in (A.DualTransform, A.ImageOnlyTransform, A.Lambda) and not issubclass(kind, A.Transform3D)
}  # fmt: skip


class Transforms:
    """The transforms of a specification, applied to an image and its mask together."""

    def __init__(self, specification: Specification) -> None:
        """Build the transforms.

        Raises:
            InputError: a transform, an argument or a value is unknown, or masks would be interpolated.
        """
        self._pipeline = A.Compose([_build(entry) for entry in specification])

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, size: Size) -> Pair:
        """Transform one sample.

        Args:
            image: uint8 (h, w, C).
            mask: uint8 (h, w), labels; where a transform leaves the image, the label is its `fill_mask`, by default 0.
            rng: source of all randomness.
            size: (height, width) of the result, cropped from the centre.

        Returns:
            Image uint8 (height, width, C), and mask uint8 (height, width).

        Raises:
            ValueError: the result is smaller than `size`, or not of 8 bits.
        """
        moved = _transformed(self._pipeline, image, mask, rng)
        image, mask = (np.ascontiguousarray(centre(moved[name], size)) for name in ("image", "mask"))
        return image, mask

    def check(self, image: np.ndarray, mask: np.ndarray, size: Size) -> None:
        """Apply each transform alone, whatever its probability, since a rare one would fail only after hours.

        Raises:
            InputError: a transform cannot be used on this image and mask, or makes other labels.
        """
        for transform in _leaves(self._pipeline):
            probability, transform.p = transform.p, 1.0
            try:
                moved = _transformed(A.Compose([transform]), image, mask, np.random.default_rng(0))
                if new := set(np.unique(moved["mask"]).tolist()) - {0, IGNORE, *np.unique(mask).tolist()}:
                    raise ValueError(f"it makes the labels {sorted(new)} of masks that have none such")
            except Exception as error:  # albumentations has its own kinds, and OpenCV too
                raise InputError(
                    f"expected transforms of 8-bit images and masks in {KEY}, but {type(transform).__name__} cannot be used on an "
                    f"image of {'x'.join(map(str, image.shape))} ({_short(error)}); change or remove it"
                ) from None
            finally:
                transform.p = probability
        try:
            self(image, mask, np.random.default_rng(0), size)
        except ValueError as error:
            raise InputError(f"the transforms in {KEY} cannot be used: {_short(error)}") from None


def _build(entry: Mapping[str, Mapping[str, Any]]) -> Any:
    """Build one transform, or a group of them."""
    ((name, given),) = entry.items()
    kind, arguments = {**SINGLE, **GROUPS}.get(name), dict(given)
    if kind is None:
        raise unknown_transform(name, [*SINGLE, *GROUPS])
    known = [parameter for parameter in inspect.signature(kind.__init__).parameters if parameter not in ("self", "kwargs")]
    if unknown := [argument for argument in arguments if argument not in known]:
        raise InputError(
            f"expected arguments of {name} in {KEY} ({', '.join(known) or 'none'}), but got {unknown[0]!r}; correct it"
        )
    if arguments.get("mask_interpolation", cv2.INTER_NEAREST) != cv2.INTER_NEAREST:
        raise InputError(
            f"expected {name} in {KEY} without mask_interpolation, but got {arguments['mask_interpolation']!r}: labels are not "
            "interpolated; remove it"
        )
    if name in GROUPS:
        arguments["transforms"] = [_build(part) for part in _parts(name, arguments.get("transforms"))]
    elif {"InitSchema", "__init__"} <= vars(kind).keys():
        arguments["strict"] = True  # else albumentations warns of some wrong values, and takes its defaults
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # advice to use another transform
            return kind(**arguments)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"expected valid arguments of {name} in {KEY}, but got {dict(given)} ({_short(error)}); correct them"
        ) from None


def _parts(name: str, parts: Any) -> list[Mapping[str, Mapping[str, Any]]]:
    """Return the transforms of a group, whose form the schema of the params does not check."""
    if not isinstance(parts, list) or not parts or any(not _is_entry(part) for part in parts):
        raise InputError(
            f"expected the argument transforms of {name} in {KEY} to list transforms, such as [{{GaussNoise: {{}}}}], but got "
            f"{parts!r}; correct it"
        )
    return parts


def _is_entry(part: Any) -> bool:
    return isinstance(part, dict) and len(part) == 1 and all(isinstance(value, dict) for value in part.values())


def _leaves(transform: Any) -> Iterator[Any]:
    """Yield every single transform of a group."""
    if not isinstance(transform, A.BaseCompose):
        yield transform
        return
    for part in transform.transforms:
        yield from _leaves(part)


def _transformed(pipeline: Any, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return image and mask after the transforms, whose random numbers all come from `rng`."""
    # A seed would start all transforms in the same state, and each would depend on the others.
    pipeline.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    moved: dict[str, np.ndarray] = pipeline(image=image, mask=mask)
    for name, before in (("image", image), ("mask", mask)):
        after = moved[name]
        if not isinstance(after, np.ndarray) or after.dtype != np.uint8 or after.shape[2:] != before.shape[2:]:
            kind = f"{after.dtype} {tuple(after.shape)}"
            raise ValueError(f"expected an {name} of 8 bits and {before.shape[2:] or 'no'} channels, but got {kind}")
    return moved


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
