"""Predict a picture of any size by a network of fixed input: resize or slide, average overlaps and flips, and resize back."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medtransfer.data.pixels import centre, normalise, to_images
from medtransfer.data.resizing import inner_box, resize_image
from medtransfer.predict.plan import AXES, Plan
from medtransfer.records import ImageRule, ModelInfo

AT_ONCE = 16  # windows that are cut before they are predicted, which bounds the memory


def predict_picture(picture: np.ndarray, info: ModelInfo, predict: Callable[[Tensor], Tensor], plan: Plan) -> Tensor:
    """Predict a picture.

    Args:
        picture: uint8 (H, W, C), as the model's target stores pictures.
        info: the model.
        predict: probabilities (N, outputs, h, w) of normalised images (N, C, h, w) of the network's input size.
        plan: how it is predicted.

    Returns:
        Probabilities float32 (outputs, H, W).
    """
    height, width = picture.shape[:2]
    if plan.slide:
        return _slide(picture, info, predict, plan)[:, :height, :width]
    size = (info.size[0], info.size[1])
    keep_aspect = ImageRule(**info.image_rule).keep_aspect if info.image_rule else False
    top, left, tall, wide = inner_box((height, width), size, keep_aspect)
    stored = _slide(resize_image(picture, size, keep_aspect), info, predict, plan)
    return _resize(stored[:, top : top + tall, left : left + wide], (height, width))


def _resize(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (outputs, h, w) to `size`, bilinear, antialiased where it shrinks; a sum of 1 stays one."""
    if tuple(probabilities.shape[1:]) == size:
        return probabilities
    shrinks = size[0] < probabilities.shape[1] or size[1] < probabilities.shape[2]
    resized = interpolate(probabilities[None], size=size, mode="bilinear", align_corners=False, antialias=shrinks)
    return resized[0].clamp(0, 1)


def _slide(picture: np.ndarray, info: ModelInfo, predict: Callable[[Tensor], Tensor], plan: Plan) -> Tensor:
    """Predict the windows of a picture (H, W, C), padded where it is smaller than one, and average where they overlap."""
    tall, wide = info.input
    missing = (max(0, tall - picture.shape[0]), max(0, wide - picture.shape[1]))
    picture = np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)))
    rows, columns = (starts(*sides, plan.overlap) for sides in zip(picture.shape[:2], (tall, wide), strict=True))
    boxes = [(top, left) for top in rows for left in columns]
    total, count = None, torch.zeros(picture.shape[:2], dtype=torch.float32)
    for first in range(0, len(boxes), AT_ONCE):
        part = boxes[first : first + AT_ONCE]
        cut = np.stack([picture[top : top + tall, left : left + wide] for top, left in part])
        found = _average_flips(normalise(to_images(cut), info.mean, info.std), predict, plan.flips)  # (n, outputs, tall, wide)
        if total is None:
            total = torch.zeros(found.shape[1], *picture.shape[:2], dtype=torch.float32)
        for (top, left), probabilities in zip(part, found, strict=True):
            total[:, top : top + tall, left : left + wide] += probabilities
            count[top : top + tall, left : left + wide] += 1
    assert total is not None  # there is one window at least
    return total / count


def starts(length: int, side: int, overlap: float) -> list[int]:
    """Return where windows of a side begin along a length that is not below it: evenly spread, the last one at the end.

    Args:
        length: pixels to cover.
        side: pixels of a window.
        overlap: least share of a side that neighbours have in common, in [0, 1).
    """
    step = max(1, int(side * (1 - overlap)))
    steps = -(-(length - side) // step)  # rounded up
    return [round(index * (length - side) / steps) for index in range(steps + 1)] if steps else [0]


def predict_whole(picture: np.ndarray, info: ModelInfo, predict: Callable[[Tensor], Tensor], flips: Sequence[str]) -> Tensor:
    """Predict the labels of a whole picture uint8 (H, W, C): probabilities float32 (C,), the mean over flipped copies.

    Args:
        picture: as the model's target stores pictures.
        info: the model.
        predict: probabilities (N, C) of normalised images (N, 3, h, w) of the network's input size.
        flips: axes of AXES.
    """
    keep_aspect = ImageRule(**info.image_rule).keep_aspect if info.image_rule else False
    stored = resize_image(picture, (info.size[0], info.size[1]), keep_aspect)
    image = normalise(to_images(centre(stored, (info.input[0], info.input[1])))[None], info.mean, info.std)
    return torch.stack([predict(image.flip(turn))[0] for turn in _turns(flips)]).mean(0)


def _average_flips(images: Tensor, predict: Callable[[Tensor], Tensor], flips: Sequence[str]) -> Tensor:
    """Return the mean of the predictions of images (N, C, h, w) and of all their flipped copies, flipped back."""
    turns = _turns(flips)
    total = sum(predict(images.flip(turn)).flip(turn) for turn in turns[1:]) if flips else 0
    return (predict(images) + total) / len(turns)


def _turns(flips: Sequence[str]) -> list[list[int]]:
    """Return the axes that each copy is flipped along, first of all none."""
    axes = [AXES[name] for name in flips]
    return [list(chosen) for number in range(len(axes) + 1) for chosen in combinations(axes, number)]
