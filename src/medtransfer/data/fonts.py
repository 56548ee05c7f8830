"""The font of texts in pictures: DejaVu Sans, which matplotlib brings and which has the letters of most languages."""

from functools import cache
from pathlib import Path

from PIL import ImageFont

SHARE = 11 / 12  # of the size that Pillow's own font has for lines of the same length


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font in which lines are about as long as in Pillow's own, which lacks umlauts, of a size in pixels."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), round(SHARE * size))
