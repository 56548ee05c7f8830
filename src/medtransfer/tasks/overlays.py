"""Pictures of segmentations: image, truth and prediction side by side."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.data.colours import colour_of, to_colours
from medtransfer.data.epochs import Samples
from medtransfer.data.windows import title_images
from medtransfer.records import IGNORE, atomic_path
from medtransfer.tasks.contract import Metric

SIDE, TITLE, LEGEND = 2.45, 0.25, 0.3  # inches: width of a picture, height of its title and of a row of the legend
DPI = 110
COLUMNS = 5  # of the legend
LETTERS = 36  # of a name above a picture


def draw_overlays(
    path: Path, samples: Samples, per_sample: Sequence[Mapping[str, Any]], metric: Metric, predict: Callable[[Tensor], Tensor],
    class_names: Sequence[str], number: int,
) -> None:  # fmt: skip
    """Draw samples with a true mask, spread evenly from the lowest to the highest value of a metric.

    Args:
        path: path of the PNG.
        samples: samples without augmentation.
        per_sample: values of the same samples, in their order.
        metric: metric by which they are ordered.
        predict: returns the probabilities of pixels (N, H, W, C), on the CPU.
        class_names: names of the non-background classes.
        number: number of samples to draw.
    """
    values = [row[metric.name] for row in per_sample]
    chosen = _spread(samples, values, number)
    high, wide = samples[chosen[0]][0].shape[:2]
    row = SIDE * min(high / wide, 2)  # inches; placed by hand, since constrained layout takes most of the time of drawing
    larger = max(1, int(SIDE * DPI / wide))  # so that the line around masks is thinner than a pixel of a small picture
    outline = max(1, round(2 * larger * wide / (SIDE * DPI)))  # two pixels of the drawing
    handles = [Patch(color=colour_of(label), label=name) for label, name in enumerate(class_names, start=1)]
    if any((samples[index][1] == IGNORE).any() for index in chosen):
        handles.append(Patch(color=colour_of(IGNORE), label="ignored"))
    legend = LEGEND * (1 + (len(handles) - 1) // COLUMNS)
    height = (row + TITLE) * len(chosen) + legend
    place = {
        "left": 0.01,
        "right": 0.99,
        "wspace": 0.02,
        "bottom": legend / height,
        "top": 1 - TITLE / height,
        "hspace": TITLE / row,
    }
    figure = Figure(figsize=(7.5, height))
    rows = figure.subplots(len(chosen), 3, squeeze=False, gridspec_kw=place, subplot_kw={"xticks": (), "yticks": ()})
    images = title_images(samples.images, LETTERS)
    for axes, index in zip(rows, chosen, strict=True):
        pixels, truth, _ = samples[index]
        probabilities = predict(pixels[None])[0]  # (outputs, H, W)
        predicted = (probabilities[0] > 0.5).long() if len(probabilities) == 1 else probabilities.argmax(0)
        picture = to_colours(pixels)  # (H, W, 3)
        titles = (images[index], "truth", f"prediction, {metric.label} {values[index]:.3f}")
        masks = (np.zeros_like(truth), np.asarray(truth), predicted.numpy())
        for axis, title, mask in zip(axes, titles, masks, strict=True):
            painted = paint(enlarge(picture, larger), enlarge(mask, larger), outline)
            axis.imshow(painted, interpolation="nearest" if larger > 1 else None)
            axis.set_title(title, fontsize=8)
            axis.set_axis_off()
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), COLUMNS), frameon=False, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=DPI, format="png")


def enlarge(pixels: NDArray, times: int) -> NDArray:
    """Repeat the rows and columns of pixels (H, W, ...) as often."""
    return pixels.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else pixels


def _spread(samples: Samples, values: Sequence[float], number: int) -> list[int]:
    """Return the positions of up to `number` samples, evenly spaced in the order of their values."""
    positions = range(len(samples))
    with_mask = [position for position in positions if (samples[position][1] % IGNORE).any()] or list(positions)
    ranked = sorted(with_mask, key=lambda position: (values[position], position))
    ranks = np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int)
    return [ranked[rank] for rank in dict.fromkeys(ranks.tolist())]


def paint(picture: NDArray[np.uint8], mask: NDArray, outline: int = 1) -> NDArray[np.uint8]:
    """Blend each class's colour over a picture where a mask has it, grey where it is IGNORE, with a black line around all.

    The line is outside of the mask, so that small objects keep their colour; without it no colour is seen on its like.

    Args:
        picture: (H, W, 3).
        mask: labels (H, W).
        outline: width of the line, pixels.
    """
    mask = np.ascontiguousarray(mask, dtype=np.uint8)
    picture, filled = np.ascontiguousarray(picture), mask > 0
    if not filled.any():
        return picture.copy()
    painted = np.asarray(cv2.copyTo(picture, (~_around(filled, outline)).view(np.uint8)), np.uint8)  # 0 where nothing is copied
    levels = np.arange(256)[:, None]
    for label in 1 + np.flatnonzero(cv2.calcHist([mask], [0], None, [256], [0, 256])[1:]):
        where, colour = mask == label, 255 * np.array(to_rgb(colour_of(int(label))))
        box = _bounds(where)
        blended = (0.45 * levels + 0.55 * colour).astype(np.uint8)  # of each value, (256, 3)
        cv2.copyTo(cv2.LUT(picture[box], blended[None]), where[box].view(np.uint8), painted[box])  # the last one is written to
    return painted


def _bounds(where: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns (H, W) from the first to the last that has any."""
    rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _around(filled: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the pixels (H, W) that are not filled, but up to `width` beside, above or below one that is."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (2 * width + 1, 2 * width + 1))
    return (cv2.dilate(filled.view(np.uint8), cross) > 0) & ~filled
