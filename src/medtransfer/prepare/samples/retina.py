"""A seed goes in; generated fundus photographs in the IDRiD folders come out: a disc, vessels and tiny dark dots."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from medtransfer.prepare.samples.textures import clouds, polar, to_bytes

HEIGHT, WIDTH = 240, 360
FOLDERS = ("a. Training Set", "b. Testing Set")


def write_retina(folder: Path, seed: int, retinas: int) -> None:
    """Write colour JPEG photographs and 1-bit palette TIFF masks, red on black, as IDRiD has them.

    Args:
        folder: becomes the folder of `A. Segmentation`.
        seed: the same seed gives the same bytes.
        retinas: photographs, at least 3; the last third goes to the testing set.
    """
    base = folder / "A. Segmentation"
    for number in range(1, retinas + 1):
        part = FOLDERS[number > retinas - retinas // 3]
        photos = base / "1. Original Images" / part
        masks = base / "2. All Segmentation Groundtruths" / part / "1. Microaneurysms"
        photos.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        photo, dots = draw_retina(np.random.default_rng([seed, number]))
        photo.save(photos / f"IDRiD_{number:02d}.jpg", quality=95)
        palette = Image.fromarray(dots.astype(np.uint8)).convert("P")
        palette.putpalette([0, 0, 0, 255, 0, 0])
        palette.save(masks / f"IDRiD_{number:02d}_MA.tif", bits=1)


def draw_retina(rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """Draw one photograph with 12 to 30 dots of 3 to 5 pixels; vessels are as dark as the dots.

    Returns:
        RGB picture 240x360 and bool mask (240, 360).
    """
    side = WIDTH
    vessels = Image.new("L", (WIDTH, HEIGHT))
    disc = (WIDTH * rng.uniform(0.25, 0.35), HEIGHT * rng.uniform(0.4, 0.6))
    for heading in rng.uniform(0, 2 * np.pi, 9):
        _draw_vessel(ImageDraw.Draw(vessels), rng, disc, heading)
    field = polar(side, (HEIGHT / 2, WIDTH / 2))[0][:HEIGHT]
    inside = field < 0.47 * WIDTH
    dots = np.zeros((HEIGHT, WIDTH), bool)
    for y, x in rng.choice(np.argwhere(field < 0.3 * HEIGHT), int(rng.integers(12, 31))):
        dots |= polar(side, (float(y), float(x)))[0][:HEIGHT] < rng.uniform(1.6, 2.6)
    light = 0.8 + 0.3 * clouds(rng, side)[:HEIGHT] - 0.15 * dots
    light = light - 0.15 * np.asarray(vessels.filter(ImageFilter.GaussianBlur(0.7))) / 255
    light = light + 0.3 * np.exp(-((polar(side, (disc[1], disc[0]))[0][:HEIGHT] / 22) ** 2))
    colour = np.array(rng.normal((0.75, 0.38, 0.16), 0.03))
    image = inside[..., None] * light[..., None] * colour + 0.015 * rng.standard_normal((HEIGHT, WIDTH, 3))
    return Image.fromarray(to_bytes(image)), dots


def _draw_vessel(pen: ImageDraw.ImageDraw, rng: np.random.Generator, start: tuple[float, float], heading: float) -> None:
    """Walk from the disc outwards with a slowly turning heading, thinner with every step."""
    (x, y), turn = start, rng.normal(0, 0.06)
    for width in np.linspace(4.5, 1, 45):
        heading += turn + rng.normal(0, 0.08)
        end = (x + 7 * np.cos(heading), y + 7 * np.sin(heading))
        pen.line([(x, y), end], fill=255, width=max(1, round(width)))
        x, y = end
