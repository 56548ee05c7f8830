"""Joint augmentation of an image and its mask for fine-tuning (paper A.4, Algorithm 2)."""

import math
import os
import random
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from medtransfer.data.jitter import COLOURS, jitter, jitter_of
from medtransfer.data.pixels import to_images

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else albumentations looks for a newer version online on import
import albumentations as A

AT_ONCE = 4  # channels that OpenCV warps at most
Size = tuple[int, int]
Pair = tuple[np.ndarray, np.ndarray]
Augmentation = Callable[[np.ndarray, np.ndarray, np.random.Generator, Size], Pair]


def rotate_flip(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, size: Size) -> Pair:
    """Rotate by U[0, pi] about the centre, padding with 0, and flip upside down with probability 1/2.

    Args:
        image: uint8 (h, w, C).
        mask: uint8 (h, w).
        rng: source of all randomness.
        size: (height, width) of the result, cropped from the centre.

    Returns:
        Image uint8 (height, width, C), bilinear, and mask uint8 (height, width), nearest.

    Source: paper A.4, ACDC and COVID-QU.
    """
    return _apply(_rotate_flip(size), image, mask, rng)


def _apply(transform: A.Compose, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
    moved = _seeded(transform, rng)(image=image, mask=mask)
    return moved["image"], moved["mask"]


def _seeded(transform: A.Compose, rng: np.random.Generator) -> A.Compose:
    """Return a transform after setting its source of randomness."""
    # A seed would start all transforms in the same state, and a flip would depend on the angle.
    transform.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    return transform


@cache
def _rotate_flip(size: Size) -> A.Compose:
    rotate = A.Rotate(
        limit=(0, 180), interpolation=cv2.INTER_LINEAR, mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=0, p=1,
    )  # fmt: skip
    return A.Compose([rotate, A.VerticalFlip(p=0.5), A.CenterCrop(*size)])


def affine(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, size: Size) -> Pair:
    """Rotate by up to 15 degrees, scale by .9 to 1.1, shift by up to 5 %, padding with 0; change brightness and contrast.

    For images of which nothing is known: none is mirrored or turned upside down, since which side is left and what is
    above may matter, as in a chest X-ray. Of channels that are no colours each has its own brightness and contrast.

    Args:
        image: uint8 (h, w, C).
        mask: uint8 (h, w).
        rng: source of all randomness.
        size: (height, width) of the result, cropped from the centre.

    Returns:
        Image uint8 (height, width, C), bilinear, and mask uint8 (height, width), nearest.
    """
    if image.shape[2] in (1, COLOURS):
        return _apply(_affine(size, light=True), image, mask, rng)
    channels = [_seeded(_light_alone(), rng)(image=channel)["image"] for channel in np.moveaxis(image, -1, 0)]
    return _apply(_affine(size, light=False), np.dstack(channels), mask, rng)


@cache
def _affine(size: Size, *, light: bool) -> A.Compose:
    move = A.Affine(
        rotate=(-15, 15), scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST, border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=0, p=1,
    )  # fmt: skip
    return A.Compose([move, *([_light()] if light else []), A.CenterCrop(*size)])


def _light() -> A.BasicTransform:
    return A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5)


@cache
def _light_alone() -> A.Compose:
    return A.Compose([_light()])


def rotate_crop(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, size: Size) -> Pair:
    """Crop at a random angle without padding, flip upside down with probability 1/2, and jitter the colours; see `jitter`.

    Args:
        image: uint8 (h, w, C); both sides at least the diagonal of `size`.
        mask: uint8 (h, w).
        rng: source of all randomness.
        size: (height, width) of the crop.

    Returns:
        Image float32 (height, width, C), with 3 channels for grey, in [0, 1] but where the jitter exceeds white, since the paper
        jitters fractions and rounds none; mask uint8 (height, width).

    Raises:
        ValueError: the window is too small.

    Source: paper A.4, Algorithm 2, IDRiD.
    """
    angle, flip = rng.uniform(0, 2 * math.pi), rng.random() < 0.5
    matrix = crop_map(mask.shape, size, angle, rng.random(2))
    if flip:
        matrix = matrix @ [[1, 0, 0], [0, -1, size[0] - 1], [0, 0, 1]]
    crop, labels = warp(image, mask, matrix, size)
    images = to_images(crop)[None]
    jittered = jitter(images, jitter_of(1, rng, images.shape[1]))[0].numpy()  # (C, height, width)
    return cv2.merge(list(jittered)), labels


def crop_map(window: tuple[int, ...], size: Size, angle: float, position: np.ndarray) -> np.ndarray:
    """Return the affine map from the pixels of a rotated crop to those of the window, such that the crop is inside it.

    In the window's frame the crop is a rectangle rotated by `angle`; its extent from its centre along x and y is
    (W |cos| + H |sin|) / 2 and (W |sin| + H |cos|) / 2. So the centres of all crops without padding fill a rectangle
    parallel to the window, with sides l = window - 2 extent (Algorithm 2's l); `position` is relative to it. Algorithm 2's
    h0 and w0 are not used, since at angle 0 they place the crop outside the window.

    Args:
        window: (height, width) in pixels.
        size: (height, width) of the crop in pixels.
        angle: rotation in radians.
        position: (x, y) in [0, 1], of the centre between its extremes.

    Returns:
        (2, 3), from (x, y, 1) of a pixel in the crop to (x, y) in the window.

    Raises:
        ValueError: the window is smaller than the crop's diagonal, so some angles are impossible.

    Source: paper A.4, Algorithm 2.
    """
    if min(window) < (diagonal := math.hypot(*size)):
        raise ValueError(f"expected windows of at least {diagonal:.1f} pixels for crops of {size}, but got {window}")
    height, width = size
    cos, sin = math.cos(angle), math.sin(angle)
    extent = np.array([width * abs(cos) + height * abs(sin), width * abs(sin) + height * abs(cos)]) / 2
    free = np.array([window[1], window[0]]) - 2 * extent
    middle = extent + position * free - 0.5  # the centre of pixel 0 is half a pixel from the edge
    turn = np.array([[cos, -sin], [sin, cos]])
    shift = middle - turn @ [(width - 1) / 2, (height - 1) / 2]
    return np.column_stack([turn, shift])


def warp(image: np.ndarray, mask: np.ndarray, matrix: np.ndarray, size: Size) -> Pair:
    """Sample the pixels of a crop through its map, without transforming the rest of the window.

    Args:
        image: uint8 (h, w, C), bilinear.
        mask: uint8 (h, w), nearest.
        matrix: (2, 3), from the crop to the window; pixels outside the window are 0.
        size: (height, width) of the crop.
    """
    shape = (size[1], size[0])
    parts = [image[..., start : start + AT_ONCE] for start in range(0, image.shape[2], AT_ONCE)]
    warped = [cv2.warpAffine(part, matrix, shape, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) for part in parts]
    crop = np.concatenate([part.reshape(*size, -1) for part in warped], axis=2)
    labels = cv2.warpAffine(mask, matrix, shape, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return crop, labels


AUGMENTATIONS: dict[str, Augmentation] = {
    "rotate-flip": rotate_flip, "affine": affine, "rotate-crop": rotate_crop,
}  # fmt: skip
