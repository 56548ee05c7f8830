"""What the masks of a model's target meant is looked up where it was prepared."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.predict.conftest import PARAMS
from tests.prepare.volume_layouts import save, volume

from medtransfer.config import load_params
from medtransfer.predict.folders import read_model_info
from medtransfer.predict.stage import _mask_rule, run
from medtransfer.predict.target import with_own_labels
from medtransfer.prepare.mask_values import MaskRule
from medtransfer.prepare.stage import prepare

CLASSES = ["heart", "cavity"]
predict_stage = sys.modules["medtransfer.predict.stage"]  # the package has a function of this name


@pytest.fixture
def look_up(tmp_path: Path, make_model: Callable[..., Path]) -> Callable[..., MaskRule]:
    """Return `look_up(labels)`, which prepares a target with this option and returns the rule of a model of it."""

    def call(labels: dict[int, str], data: str | None = None) -> MaskRule:
        for case in range(6):
            save(tmp_path / f"raw/images/case{case}.nii.gz", volume(case))
            values = np.array([value for value, name in labels.items() if name != "background"], np.uint8)
            save(tmp_path / f"raw/masks/case{case}.nii.gz", values[np.arange(360).reshape(12, 10, 3) % len(values)])
        options: dict[str, Any] = {"classes": CLASSES, "labels": labels}
        target = prepare(
            "hearts", reader="nifti", root=tmp_path / "raw", size=(10, 12), subset=False, validation=0.2,
            split={"test": 0.2, "seed": 0}, allow_duplicates=False, options=options, out=tmp_path / "prepared",
        )  # fmt: skip
        info = read_model_info(make_model(classes=CLASSES, thresholds=[]))
        info = replace(info, cell={**info.cell, "target": "hearts", "data": data or target.info.fingerprint})
        return with_own_labels(_mask_rule(load_params([PARAMS], {}).predict, CLASSES), info, tmp_path / "prepared")

    return call


def test_the_values_of_the_target_are_proposed(look_up: Callable[..., MaskRule], caplog: pytest.LogCaptureFixture) -> None:
    labels = {0: "background", 2: "heart", 5: "cavity"}
    assert look_up(labels).own == labels
    assert "--labels '{0: background, 2: heart, 5: cavity}'" in caplog.text  # 2 is the number of the cavity


@pytest.mark.parametrize(
    ("labels", "warned"),
    [({0: "background", 1: "cavity", 2: "heart"}, True), ({1: "background", 3: "heart", 4: "cavity"}, True),
     ({0: "background", 1: "heart", 2: "cavity"}, False), ({0: "background", 85: "cavity", 170: "heart", 255: "ignore"}, False)],
)  # fmt: skip
def test_values_that_meant_another_class_are_warned_of(
    labels: dict[int, str], warned: bool, look_up: Callable[..., MaskRule], caplog: pytest.LogCaptureFixture
) -> None:
    look_up(labels)
    assert ("reference masks are taken for class numbers (1 heart, 2 cavity), but those of" in caplog.text) == warned


def test_values_that_a_threshold_splits_are_not_warned_of(
    tmp_path: Path, make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a threshold the values are no class numbers."""
    asked: list[object] = []
    monkeypatch.setattr(predict_stage, "with_own_labels", lambda rule, *_: (asked.append(rule), rule)[1])
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32) // 128 * 255).save(tmp_path / name / "a.png")
    model = make_model(classes=["lesion"])
    for threshold in (None, 128):
        given = {"model": [str(model)], "images": str(tmp_path / "images"), "masks": str(tmp_path / "masks"), "accelerator": "cpu"}
        options = {**given, "mask_threshold": threshold, "out": str(tmp_path / "out")}
        section = load_params([PARAMS], {f"predict.{key}": value for key, value in options.items()}).predict
        run(section, tmp_path / "checkpoints", tmp_path / "prepared", True)
    assert len(asked) == 1


def test_a_target_that_was_prepared_in_another_way_says_nothing(look_up: Callable[..., MaskRule]) -> None:
    assert look_up({0: "background", 2: "heart", 5: "cavity"}, data="other").own == {}
