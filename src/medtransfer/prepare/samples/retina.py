"""Generate fundus photographs in the IDRiD layout: a disc, vessels and tiny dark dots."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from medtransfer.prepare.samples.textures import clouds, polar, to_bytes

HEIGHT, WIDTH = 240, 360
FOLDERS = ("a. Training Set", "b. Testing Set")


def write_retina(folder: Path, seed: int, retinas: int) -> None:
    """Write colour JPEG photographs and 1-bit palette TIFF masks, red on black, like IDRiD's.

    Args:
        folder: parent of `A. Segmentation`.
        seed: the same seed gives the same bytes.
        retinas: number of photographs, at least 3; the last third goes to the testing set.
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
        (masks / f"IDRiD_{number:02d}_MA.tif").write_bytes(encode_palette_tiff(dots))


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
    """Draw a line outwards from the disc, which turns slowly and becomes thinner with every step."""
    (x, y), turn = start, rng.normal(0, 0.06)
    for width in np.linspace(4.5, 1, 45):
        heading += turn + rng.normal(0, 0.08)
        end = (x + 7 * np.cos(heading), y + 7 * np.sin(heading))
        pen.line([(x, y), end], fill=255, width=max(1, round(width)))
        x, y = end


def encode_palette_tiff(mask: np.ndarray) -> bytes:
    """Encode a mask as a baseline TIFF with one bit per pixel and the palette black, red; Pillow writes only 8-bit palettes.

    Args:
        mask: bool (height, width).

    Source: TIFF 6.0, section 2 (file structure) and section 5 (palette-colour images).
    """
    height, width = mask.shape
    strip = np.packbits(mask, axis=1).tobytes()
    palette = struct.pack("<6H", 0, 65535, 0, 0, 0, 0)  # all reds, all greens, all blues
    short, long = 3, 4
    head = 8 + 2 + 10 * 12 + 4
    entries = [
        (256, long, 1, width), (257, long, 1, height), (258, short, 1, 1), (259, short, 1, 1), (262, short, 1, 3),
        (273, long, 1, head + len(palette)), (277, short, 1, 1), (278, long, 1, height), (279, long, 1, len(strip)),
        (320, short, 6, head),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", 0) + palette + strip
