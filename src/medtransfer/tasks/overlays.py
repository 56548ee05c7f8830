"""Pictures of segmentations: image, truth and prediction side by side."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.data.colours import colour_of
from medtransfer.data.epochs import Samples
from medtransfer.data.pixels import to_colours
from medtransfer.records import IGNORE, atomic_path
from medtransfer.tasks.contract import Metric

TITLE, LEGEND = 0.25, 0.3  # inches; of a row
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
    row = 2.45 * min(high / wide, 2)  # inches; placed by hand, since constrained layout takes most of the time of drawing
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
    for axes, index in zip(rows, chosen, strict=True):
        pixels, truth, _ = samples[index]
        probabilities = predict(pixels[None])[0]  # (outputs, H, W)
        predicted = (probabilities[0] > 0.5).long() if len(probabilities) == 1 else probabilities.argmax(0)
        picture = to_colours(pixels)  # (H, W, 3)
        titles = (_shortened(samples.images[index].rsplit("/", 1)[-1]), "truth", f"prediction, {metric.label} {values[index]:.3f}")
        masks = (np.zeros_like(truth), np.asarray(truth), predicted.numpy())
        for axis, title, mask in zip(axes, titles, masks, strict=True):
            axis.imshow(paint(picture, mask))
            axis.set_title(title, fontsize=8)
            axis.set_axis_off()
    figure.legend(handles=handles, loc="lower center", ncols=min(len(handles), COLUMNS), frameon=False, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _shortened(name: str) -> str:
    """Leave out the beginning of a name that is wider than a picture."""
    return name if len(name) <= LETTERS else f"…{name[1 - LETTERS :]}"


def _spread(samples: Samples, values: Sequence[float], number: int) -> list[int]:
    """Return the positions of up to `number` samples, evenly spaced in the order of their values."""
    positions = range(len(samples))
    with_mask = [position for position in positions if (samples[position][1] % IGNORE).any()] or list(positions)
    ranked = sorted(with_mask, key=lambda position: (values[position], position))
    ranks = np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int)
    return [ranked[rank] for rank in dict.fromkeys(ranks.tolist())]


def paint(picture: NDArray[np.uint8], mask: NDArray) -> NDArray[np.uint8]:
    """Blend each class's colour over the picture (H, W, 3) where the mask (H, W) has it; grey where it is IGNORE."""
    painted = picture.astype(np.float64)
    for label in np.unique(mask[mask > 0]):
        colour = 255 * np.array(to_rgb(colour_of(int(label))))
        painted[mask == label] = 0.45 * painted[mask == label] + 0.55 * colour
    return painted.astype(np.uint8)
