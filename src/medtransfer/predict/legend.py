"""A legend of classes below a picture."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TEXT, LINE, SWATCH, GAP = 12, 18, 10, 6  # pixels: size of the letters, height of a line, side of a colour, space between


def add_legend(picture: NDArray[np.uint8], colours: Mapping[str, str]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) with a legend below it, wrapped to its width; wider if an entry alone needs it.

    Args:
        picture: the picture.
        colours: colour of each class, as #RRGGBB, by its name.
    """
    font = ImageFont.load_default(TEXT)
    widths = {name: GAP + SWATCH + GAP + int(np.ceil(font.getlength(name))) + GAP for name in colours}
    height, width = picture.shape[0], max(picture.shape[1], *widths.values())
    places, x, line = {}, 0, 0
    for name, needed in widths.items():
        if x and x + needed > width:
            x, line = 0, line + 1
        places[name] = (x, height + line * LINE)
        x += needed
    canvas = Image.new("RGB", (width, height + (line + 1) * LINE), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw, margin = ImageDraw.Draw(canvas), (LINE - SWATCH) // 2
    for name, (left, top) in places.items():
        draw.rectangle((left + GAP, top + margin, left + GAP + SWATCH - 1, top + margin + SWATCH - 1), fill=colours[name])
        draw.text((left + 2 * GAP + SWATCH, top + LINE / 2), name, fill="black", font=font, anchor="lm")
    return np.asarray(canvas)
