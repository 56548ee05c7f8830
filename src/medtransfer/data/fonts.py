"""The font of texts in pictures: DejaVu Sans, which matplotlib brings and which has the letters of most languages."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

SHARE = 11 / 12  # of the size that Pillow's own font has for lines of the same length


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font in which lines are about as long as in Pillow's own, which lacks umlauts, of a size in pixels."""
    found = find_spec("matplotlib")  # which takes a while to load
    assert found is not None and found.origin is not None
    return ImageFont.truetype(str(Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"), round(SHARE * size))
