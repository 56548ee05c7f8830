"""Targets of a few small images with masks, made on the fly."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtransfer.records import INDEX_COLUMNS, PreparedTarget, TargetInfo


@pytest.fixture
def make_target(tmp_path: Path) -> Callable[..., PreparedTarget]:
    """Return a maker of targets of so many colour images of 32 pixels; class 1 is a bright quarter, class 2 a dark one.

    Each image is of a patient of its own unless a letter for each says otherwise.
    """

    def make(count: int, patients: str = "") -> PreparedTarget:
        images = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        masks = np.zeros(images.shape[:3], np.uint8)
        masks[:, :16, :16], masks[:, 16:, 16:] = 1, 2
        images[masks == 1] = images[masks == 1] // 2 + 128
        images[masks == 2] = images[masks == 2] // 2
        np.save(tmp_path / "images.npy", images)
        np.save(tmp_path / "masks.npy", masks)
        groups = patients or [f"p{i}" for i in range(count)]
        lines = [(i, i, "train", groups[i], f"{i}.png", 0, 0, 0, 32, 32) for i in range(count)]
        pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(tmp_path / "index.csv", index=False)
        TargetInfo(
            target="made", reader="made", task="segmentation", citation="none", classes=["one", "two"], channels=3, input=[32, 32],
            augmentation="rotate-flip", scaling="none", counts={"train": count}, expected={}, subset=False, sources={}, arrays={},
            settings={},
        ).write(tmp_path / "dataset.json")  # fmt: skip
        return PreparedTarget.open(tmp_path)

    return make
