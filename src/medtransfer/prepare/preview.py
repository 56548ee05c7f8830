"""Contact sheet of a prepared target: samples, with the outlines of their masks where it has masks."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medtransfer.records import PreparedTarget

COLUMNS, ROWS, CELL = 4, 3, 256
COLOURS = np.array([(0, 0, 0), (255, 70, 70), (70, 220, 70), (80, 140, 255), (255, 200, 40), (230, 80, 230)], np.uint8)


def draw_preview(prepared: PreparedTarget, path: Path) -> None:
    """Write a PNG of up to twelve samples spread over the dataset, with non-empty masks if there are any.

    The text on a sample names its split, source and slice; class c has the colour `COLOURS[c]`.
    """
    sheet = Image.new("RGB", (COLUMNS * CELL, ROWS * CELL))
    for cell, line in enumerate(_choose(prepared)):
        sample = prepared.index.iloc[line]
        top, left, height, width = (int(sample[name]) for name in ("top", "left", "height", "width"))
        area = (int(sample["row"]), slice(top, top + height), slice(left, left + width))
        picture = _enlarge(prepared.images[area], prepared.masks[area] if prepared.has_masks else None)
        ImageDraw.Draw(picture).text((4, 2), f"{sample['split']} {Path(sample['source']).name} {sample['slice']}", fill="yellow")
        sheet.paste(picture, (cell % COLUMNS * CELL, cell // COLUMNS * CELL))
    sheet.save(path, format="PNG")


def _choose(prepared: PreparedTarget) -> list[int]:
    """Choose evenly spaced pictures, and from each the window with the largest labelled area."""
    lines = prepared.index.groupby("row", sort=True).indices
    rows = list(lines)
    filled = [row for row in rows if prepared.has_masks and prepared.masks[row].any()] or rows
    chosen = [filled[position] for position in np.linspace(0, len(filled) - 1, COLUMNS * ROWS).astype(int)]
    return [max(lines[row], key=lambda line: _area(prepared, int(line))) for row in dict.fromkeys(chosen)]


def _area(prepared: PreparedTarget, line: int) -> int:
    if not prepared.has_masks:
        return 0
    row, top, left, height, width = prepared.index.loc[line, ["row", "top", "left", "height", "width"]].astype(int)
    return int(np.count_nonzero(prepared.masks[row, top : top + height, left : left + width]))


def _enlarge(image: np.ndarray, mask: np.ndarray | None) -> Image.Image:
    """Enlarge an image to one cell of the sheet, and paint the border pixels of every class of its mask on it."""
    pixels = np.repeat(image, 3 // image.shape[-1], axis=-1)
    large = np.array(Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.BILINEAR))
    if mask is None:
        return Image.fromarray(large)
    labels = np.asarray(Image.fromarray(np.ascontiguousarray(mask)).resize((CELL, CELL), Image.Resampling.NEAREST))
    padded = np.pad(labels, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    border = (labels > 0) & np.any([labels != neighbour for neighbour in neighbours], axis=0)
    large[border] = COLOURS[(labels[border] - 1) % (len(COLOURS) - 1) + 1]
    return Image.fromarray(large)
