"""Picture of what a model makes of some validation images: one image per row, one kind of image per column."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from medtransfer.records import atomic_path

ROWS = 4
GAP = 2  # pixels between the rows


def some_items(images: Any, number: int = ROWS) -> list[Any]:
    """Return up to `number` items of a split, evenly spaced."""
    positions = np.linspace(0, len(images) - 1, min(number, len(images))).round().astype(int)
    return [images[position] for position in dict.fromkeys(positions.tolist())]


def draw_columns(path: Path, columns: Mapping[str, Tensor]) -> None:
    """Draw images side by side.

    Args:
        path: path of the PNG.
        columns: images (N, 3, H, W) or (N, 1, H, W) by the title of their column; values are clipped to [0, 1].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3 * len(columns), 0.3 + 1.3 * max(map(len, columns.values()))), layout="constrained")
    for axis, (title, images) in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns.items(), strict=True):
        axis.imshow(_stacked(images))
        axis.set_title(title, fontsize=6)
        axis.set_axis_off()
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=100, format="png")


def _stacked(images: Tensor) -> np.ndarray:
    """Return images one above the other, (N * (H + gap), W, 3)."""
    pixels = images.detach().float().cpu().clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()  # (N, H, W, 3)
    padded = np.pad(pixels, ((0, 0), (0, GAP), (0, 0), (0, 0)), constant_values=1)
    return padded.reshape(-1, *padded.shape[2:])[:-GAP]
