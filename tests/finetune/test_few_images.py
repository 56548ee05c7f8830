"""Fifteen pictures: the default recipe learns nothing, and what docs/how-to/own-data.md names for few images does."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medtransfer import study
from medtransfer.config import Params
from medtransfer.finetune.stage import run
from medtransfer.records import CellName

PROJECT = Path(__file__).parents[2]
TARGET = {
    "reader": "folder", "root": "mydata", "size": [64, 64], "subset": False, "split": {"test": 0.25, "seed": 0},
    "validation": 0.0, "allow_duplicates": False, "options": {},
}  # fmt: skip


def draw(number: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Draw a dark ellipse of about two percent of a noisy, blotchy picture; return the picture and its mask."""
    rng = np.random.default_rng(number)
    blotches = np.kron(rng.normal(110, 18, (side // 8, side // 8)), np.ones((8, 8)))
    picture = blotches[..., None] + np.array([20, 0, -15]) + rng.normal(0, 12, (side, side, 3))
    rows, columns = np.mgrid[:side, :side]
    (top, left), (height, width), turn = rng.uniform(25, 70, 2), rng.uniform(4, 9, 2), rng.uniform(0, np.pi)
    along = (columns - left) * np.cos(turn) + (rows - top) * np.sin(turn)
    across = (rows - top) * np.cos(turn) - (columns - left) * np.sin(turn)
    lesion = (along / width) ** 2 + (across / height) ** 2 < 1
    picture[lesion] -= np.array([25, 20, 12])
    return picture.clip(0, 255).astype(np.uint8), (255 * lesion).astype(np.uint8)


@pytest.mark.slow
def test_the_named_setting_learns_from_few_images(workplace: Path, tiny_params: Callable[..., Params]) -> None:
    for number in range(15):
        for name, pixels in zip(("images", "masks"), draw(number), strict=True):
            (workplace / "mydata" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(workplace / "mydata" / name / f"case{number:02d}.png")
    defaults = yaml.safe_load((PROJECT / "params.yaml").read_text())
    text = (PROJECT / "docs/how-to/own-data.md").read_text()
    named = yaml.safe_load(re.search(r"```yaml\n(finetune:.*?)```", text, re.DOTALL)[1])["finetune"]  # type: ignore[index]
    dice = {}
    for name, recipe in (("defaults", {}), ("named", named)):
        chosen = {key: defaults["finetune"][key] for key in ("train_epochs", "batch_size", "lr", "optimiser")} | recipe
        params = tiny_params({
            "prepare.target": "mine", "prepare.targets.mine": TARGET, "finetune.target": "mine", "finetune.overlays": 0,
            "pretrain.encoders.unet": defaults["pretrain"]["encoders"]["unet"], "pretrain.epochs": 1, "pretrain.checkpoints": [],
            **{f"finetune.{key}": value for key, value in chosen.items()},
        })  # fmt: skip
        study.prepare(params)
        study.pretrain(params)
        (result,) = run(
            params.finetune, [CellName("mine", "unet", "simple", 1, "full", 1)], Path("checkpoints"), Path("data/prepared")
        )
        dice[name] = result.metrics["dice"]
    assert dice["defaults"] < 0.2 < 0.6 < dice["named"], dice
