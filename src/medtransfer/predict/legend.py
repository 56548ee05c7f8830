"""A title above a picture, and a legend of classes below it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medtransfer.data.fonts import load_font

TEXT, LINE, SWATCH, GAP = 12, 18, 10, 6  # pixels: size of the letters, height of a line, side of a colour, space between
WIDE = 800  # pixels of a picture from which on the legend grows with it


def add_title(picture: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) with a title above it, cut to its width."""
    text, line, _, gap = _sizes(picture)
    canvas = Image.new("RGB", (picture.shape[1], line + picture.shape[0]), "white")
    canvas.paste(Image.fromarray(picture), (0, line))
    ImageDraw.Draw(canvas).text((gap, line / 2), title, fill="black", font=load_font(text), anchor="lm")
    return np.asarray(canvas)


def _sizes(picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    text, line, swatch, gap = (round(size * max(1.0, picture.shape[1] / WIDE)) for size in (TEXT, LINE, SWATCH, GAP))
    return text, line, swatch, gap


def add_legend(picture: NDArray[np.uint8], colours: Mapping[str, str]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) with a legend below it, wrapped to its width; wider if an entry alone needs it.

    Args:
        picture: the picture.
        colours: colour of each class, as #RRGGBB, by its name.
    """
    text, line, swatch, gap = _sizes(picture)
    font = load_font(text)
    widths = {name: gap + swatch + gap + int(np.ceil(font.getlength(name))) + gap for name in colours}
    height, width = picture.shape[0], max(picture.shape[1], *widths.values())
    places, x, row = {}, 0, 0
    for name, needed in widths.items():
        if x and x + needed > width:
            x, row = 0, row + 1
        places[name] = (x, height + row * line)
        x += needed
    canvas = Image.new("RGB", (width, height + (row + 1) * line), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw, margin = ImageDraw.Draw(canvas), (line - swatch) // 2
    for name, (left, top) in places.items():
        corner = (left + gap, top + margin)
        draw.rectangle((*corner, corner[0] + swatch - 1, corner[1] + swatch - 1), fill=colours[name])
        draw.text((left + 2 * gap + swatch, top + line / 2), name, fill="black", font=font, anchor="lm")
    return np.asarray(canvas)
