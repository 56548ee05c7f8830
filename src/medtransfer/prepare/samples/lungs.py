"""Generate chest pictures in the COVID-QU-Ex layout: two lungs with opacities, infection and lung masks."""

from pathlib import Path

import numpy as np
from PIL import Image

from medtransfer.prepare.samples.textures import clouds, grain, polar, to_bytes, wobbly

SIDE = 96
OTHERS = {"Non-COVID": 0.5, "Normal": 0.5}  # number of pictures relative to COVID-19; their masks are empty


def write_lungs(folder: Path, seed: int, pictures: int) -> None:
    """Write Train, Val and Test (3 : 1 : 1) of the three classes, grey 96x96 PNG.

    Args:
        folder: parent of `Infection Segmentation Data`.
        seed: the same seed gives the same bytes.
        pictures: number of pictures in the class COVID-19, at least 5; the other classes have half as many.
    """
    base = folder / "Infection Segmentation Data"
    for index, (name, share) in enumerate({"COVID-19": 1.0, **OTHERS}.items()):
        for number in range(max(1, round(pictures * share))):
            path = base / ("Train", "Train", "Train", "Val", "Test")[number % 5] / name
            image, infection, lungs = draw_chest(np.random.default_rng([seed, index, number]), infected=name == "COVID-19")
            for kind, pixels in (("images", image), ("infection masks", infection), ("lung masks", lungs)):
                (path / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path / kind / f"{name.lower()} ({number}).png")


def draw_chest(rng: np.random.Generator, infected: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one chest.

    Opacities have a distinct texture; healthy lungs have vessels, and smooth shadows as bright as the opacities.

    Returns:
        Image, infection mask and lung mask, uint8 (96, 96) each; the masks hold 0 and 255.
    """
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    lungs = np.zeros((SIDE, SIDE), bool)
    for middle in (0.29 + rng.uniform(-0.02, 0.02), 0.71 + rng.uniform(-0.02, 0.02)):
        lungs |= ((x - middle) / rng.uniform(0.15, 0.18)) ** 2 + ((y - 0.5) / rng.uniform(0.33, 0.38)) ** 2 < 1
    blots = [_blot(rng, lungs) & lungs for _ in range(5)]
    infection = np.any(blots[:3], axis=0) if infected else np.zeros_like(lungs)
    shadow = np.any(blots[3:], axis=0) & ~infection
    lift = rng.uniform(0.1, 0.25)
    image = np.where(lungs, 0.3, 0.65) + 0.04 * grain(rng, SIDE, 8) + 0.2 * (clouds(rng, SIDE) - 0.5)
    image += lift * shadow + infection * (lift + 0.08 * grain(rng, SIDE, 4))
    return to_bytes(image + 0.02 * rng.standard_normal(image.shape)), to_bytes(infection), to_bytes(lungs)


def _blot(rng: np.random.Generator, lungs: np.ndarray) -> np.ndarray:
    row, column = np.asarray(rng.choice(np.argwhere(lungs))).tolist()
    wave = (rng.uniform(0.1, 0.3), int(rng.integers(2, 6)), rng.uniform(0, 2 * np.pi))
    return wobbly(*polar(SIDE, (row, column)), rng.uniform(6, 13), wave)
