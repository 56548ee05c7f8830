"""Made-up inputs of benchmarks: a prepared target, a folder of pictures, outcomes and distances of a pretraining."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from medtransfer.indicators.robustness.pairs import Pairs
from medtransfer.records import INDEX_COLUMNS, PreparedTarget, TargetInfo

CLASSES = 3
EPOCHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
KEYS = tuple(product(("cosine", "pearson", "l2", "euclidean"), (-1, -2, -3, -4), (False, True)))
PICTURE = (375, 500)  # ImageNet's usual size, (height, width) in pixels
DRAWN = 1000  # pictures
GRAIN = 23.0  # grey levels of noise at which such a picture has the mean size of ImageNet's files, 110 kB


def smooth(rng: np.random.Generator, shape: tuple[int, int, int], grain: float = 8.0) -> np.ndarray:
    """Draw an image of soft blobs with noise of a standard deviation of `grain` grey levels, uint8 (h, w, C)."""
    height, width, channels = shape
    coarse = rng.integers(0, 256, (12, 16, channels), dtype=np.uint8)
    blobs = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(shape).astype(np.float32)
    return (blobs + rng.normal(0, grain, shape)).clip(0, 255).astype(np.uint8)


def write_target(folder: Path, count: int, size: int, augmentation: str) -> PreparedTarget:
    """Write a target of `count` training samples that a model sees as (size, size).

    Args:
        folder: to write to.
        count: samples.
        size: side in pixels.
        augmentation: `rotate-flip` makes grey slices of that size, as ACDC has; `rotate-crop` colour images of 5 x 10 times
            that size with overlapping windows of twice the size, as IDRiD has.
    """
    rng = np.random.default_rng(0)
    if augmentation == "rotate-flip":
        shape, boxes = (size, size, 1), [(row, 0, 0, size, size) for row in range(count)]
    else:
        shape, side = (5 * size, 10 * size, 3), 2 * size
        places = product(range(0, shape[0] - side + 1, size // 2), range(0, shape[1] - side + 1, size // 2))
        boxes = [(0, top, left, side, side) for top, left in places][:count]
    images = np.stack([smooth(rng, shape) for _ in range(1 + max(row for row, *_ in boxes))])
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", (images[..., 0] // 64).astype(np.uint8))
    lines = [(number, box[0], "train", f"p{box[0]}", f"f{box[0]}", 0, *box[1:]) for number, box in enumerate(boxes)]
    pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(folder / "index.csv", index=False)
    TargetInfo(
        target="made-up", reader="made-up", task="segmentation", citation="none", classes=["one", "two", "three"],
        channels=shape[2], input=[size, size], augmentation=augmentation, scaling="none", counts={"train": len(lines)},
        expected={}, subset=False, sources={}, arrays={}, settings={},
    ).write(folder / "dataset.json")  # fmt: skip
    return PreparedTarget.open(folder)


def write_pictures(folder: Path, count: int, classes: int = 10) -> Path:
    """Write an ImageFolder with `count` JPEG files for training and one per class for validation.

    After a thousand pictures the files are links to earlier ones: to read and to decode them takes as long.
    """
    rng, written = np.random.default_rng(0), list[Path]()
    for number in range(count + classes):
        split = "train" if number < count else "val"
        file = folder / split / f"class{number % classes}" / f"{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        if number < DRAWN:
            Image.fromarray(smooth(rng, (*PICTURE, 3), GRAIN)).save(file, quality=90)
        else:
            file.hardlink_to(written[number % DRAWN])
        written.append(file)
    return folder


def gain(epoch: int) -> float:
    """Return the progress of a pretraining at an epoch, from 0 to 1."""
    return float(np.log1p(epoch) / np.log1p(EPOCHS[-1]))


def draw_dice(rng: np.random.Generator, epoch: int, peak: float) -> float:
    """Draw the Dice after fine-tuning from an epoch; it rises until the progress is `peak`, and then falls a little."""
    return 0.85 - 0.2 * (gain(epoch) - peak) ** 2 + float(rng.normal(0, 0.003))


def draw_pairs(rng: np.random.Generator, images: int, gap: Callable[[], float]) -> Pairs:
    """Draw the distances of images at every key, each image a group; `gap` returns how much farther the negatives are."""
    d_pos = {key: np.abs(rng.normal(0.5, 0.2, (1, images))).astype(np.float32) for key in KEYS}
    d_neg = {key: (near + rng.normal(gap(), 0.3, (1, images))).astype(np.float32) for key, near in d_pos.items()}
    return Pairs(d_pos, d_neg, [str(image) for image in range(images)], np.arange(images))
