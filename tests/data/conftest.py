"""Fixtures: small prepared targets on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtransfer.records import INDEX_COLUMNS, PreparedTarget, TargetInfo


@pytest.fixture
def make_target(tmp_path: Path) -> Callable[..., PreparedTarget]:
    """Function that writes a target with the split `train`, one sample per window (row, top, left, height, width)."""

    def make(
        images: np.ndarray, masks: np.ndarray, *, size: tuple[int, int], augmentation: str = "rotate-flip",
        windows: list[tuple[int, int, int, int, int]] | None = None, groups: list[str] | None = None,
        ignore: bool = False,
    ) -> PreparedTarget:  # fmt: skip
        folder = tmp_path / "target"
        folder.mkdir(exist_ok=True)
        np.save(folder / "images.npy", images)
        np.save(folder / "masks.npy", masks)
        boxes = windows or [(row, 0, 0, *masks.shape[1:]) for row in range(len(masks))]
        lines = [
            (i, row, "train", groups[i] if groups else f"p{row}", f"file{row}.png", 0, top, left, height, width)
            for i, (row, top, left, height, width) in enumerate(boxes)
        ]
        pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(folder / "index.csv", index=False)
        TargetInfo(
            target="made", reader="made", task="segmentation", citation="none",
            classes=[f"class {label}" for label in range(1, max(1, int((masks % 255).max())) + 1)],
            channels=images.shape[-1], input=list(size),
            augmentation=augmentation, scaling="none", counts={"train": len(lines)}, expected={}, subset=False,
            sources={}, arrays={}, settings={}, ignore=ignore,
        ).write(folder / "dataset.json")  # fmt: skip
        return PreparedTarget.open(folder)

    return make


@pytest.fixture
def colour_target(make_target: Callable[..., PreparedTarget]) -> PreparedTarget:
    """10 colour images 16x16 in 5 groups; the mask is where red exceeds 127."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    masks = (images[..., 0] > 127).astype(np.uint8)
    return make_target(images, masks, size=(16, 16), groups=[f"g{i // 2}" for i in range(10)])
