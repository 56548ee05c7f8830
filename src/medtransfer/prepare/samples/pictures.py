"""Generate an ImageFolder of ten classes: coloured objects that differ only in texture and shape."""

from pathlib import Path

import numpy as np
from PIL import Image

from medtransfer.prepare.samples.textures import clouds, grain, polar, to_bytes, wobbly

SIDE = 64
FILLS = {"fine": (3.2, False), "middle": (5.0, False), "coarse": (8.0, False), "striped": (5.0, True), "lined": (3.2, True)}
SHAPES = ("disc", "ring")
CLASSES = tuple(f"{fill}-{shape}" for fill in FILLS for shape in SHAPES)


def write_pictures(folder: Path, seed: int, pictures: int) -> None:
    """Write train/<class>/ and val/<class>/ of 64x64 JPEG pictures.

    Args:
        folder: parent of train/ and val/.
        seed: the same seed gives the same bytes.
        pictures: number of pictures per class; the last sixth goes to val/.
    """
    for index, name in enumerate(CLASSES):
        for number in range(pictures):
            path = folder / ("val" if number >= pictures - pictures // 6 else "train") / name
            path.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([seed, index, number])
            Image.fromarray(draw_picture(rng, name)).save(path / f"{number:04d}.jpg", quality=92)


def draw_picture(rng: np.random.Generator, name: str) -> np.ndarray:
    """Draw one picture of a class in `CLASSES`.

    Colours, position, size and direction are random, and the background has the texture of another fill.

    Returns:
        uint8 (64, 64, 3).
    """
    fill, shape = name.split("-")
    other = str(rng.choice([kind for kind in FILLS if kind != fill]))
    distance, angle = polar(SIDE, tuple(rng.uniform(24, 40, 2)))
    wave = (rng.uniform(0, 0.15), int(rng.integers(2, 5)), rng.uniform(0, 2 * np.pi))
    radius = rng.uniform(16, 26)
    inside = wobbly(distance, angle, radius, wave)
    if shape == "ring":
        inside &= ~wobbly(distance, angle, radius * rng.uniform(0.4, 0.6), wave)
    texture = np.where(inside, _fill(rng, fill), _fill(rng, other))
    brightness = np.where(inside, *rng.uniform(0.35, 0.65, 2)) * (0.75 + 0.5 * clouds(rng, SIDE))
    tint = np.where(inside[..., None], *rng.uniform(-0.12, 0.12, (2, 3)))
    grey = brightness + rng.uniform(0.1, 0.2) * texture + 0.03 * rng.standard_normal((SIDE, SIDE))
    return to_bytes(grey[..., None] + tint)


def _fill(rng: np.random.Generator, name: str) -> np.ndarray:
    period, directed = FILLS[name]
    return grain(rng, SIDE, period, rng.uniform(0, np.pi) if directed else None)
