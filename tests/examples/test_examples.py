"""The scripts in examples/ run, and print what they promise."""

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medtransfer import study
from medtransfer.config import Params

EXAMPLES = Path(__file__).parents[2] / "examples"


def printed(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_the_averaging_encoder_is_the_more_robust_one(capsys: pytest.CaptureFixture[str]) -> None:
    averages, passes = re.findall(r": (\d\.\d+), standard error \d\.\d+$", printed("robustness", capsys), re.MULTILINE)
    assert float(averages) > float(passes)


def test_the_training_is_stopped_after_two_epochs_without_a_new_best(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed("stop_early", capsys)
    values = [float(value) for value in re.findall(r"^epoch \d+: (.+)$", text, re.MULTILINE)]
    assert 3 < len(values) < 20 and int(np.argmax(values)) == len(values) - 3
    assert text.endswith(f"stopped after epoch {len(values)}; keep the checkpoint of epoch {len(values)}\n")


@pytest.mark.slow
def test_two_encoders_are_ranked_on_folders(workplace: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (workplace / name).mkdir()
    for index in range(6):
        mask = np.zeros((64, 64), np.uint8)
        mask[8 + 4 * index : 32 + 4 * index, 16:48] = 1
        Image.fromarray(np.uint8(100 * mask + rng.integers(0, 60, mask.shape))).save(workplace / f"images/{index}.png")
        Image.fromarray(mask).save(workplace / f"masks/{index}.png")
    command = [sys.executable, str(EXAMPLES / "rank.py"), "images", "masks"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.endswith(("among the best", "behind"))]
    assert {line.split(":")[0] for line in lines} == {"random@resnet10t", "random@unet"} and lines[0].endswith("among the best")
    assert (workplace / "rank/ranking.html").is_file()


@pytest.mark.slow
def test_a_checkpoint_is_chosen_and_its_model_used(
    workplace: Path, sample_data: Path, tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    params = tiny_params({
        "prepare.targets.sample.reader": "covid-qu", "prepare.targets.sample.root": str(sample_data / "lungs"),
        "finetune.train_epochs": 4, "race.validation": 0.34, "race.workers": 1,
    })  # fmt: skip
    Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    study.prepare(params)
    study.pretrain(params)

    def run(name: str, *words: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        capsys.readouterr()
        return printed(name, capsys).splitlines()

    *standing, last = [
        line for line in run("race", "sample", "checkpoints/unet-simple") if "Dice" in line or ": validation" in line
    ]
    found = re.fullmatch(r"(\d+) of 16 epochs; the winner's test Dice is (0\.\d{3}): (.+)", last)
    assert (
        found
        and int(found[1]) <= 16
        and standing
        and all(re.fullmatch(r"unet-simple.*: validation Dice 0\.\d{3}", line) for line in standing)
    )
    images = sorted((sample_data / "lungs").rglob("Test/*/images/*.png"))[:2]
    Path("scans").mkdir()
    for image in images:
        shutil.copy(image, "scans")
    *masks, probabilities = run("predict", found[3], "scans")
    written = {line.split(": ")[0]: Path(line.split(": ")[1]) for line in masks if line.endswith(".png")}
    assert set(written) == {image.stem for image in images} and all(path.is_file() for path in written.values())
    assert probabilities.startswith("['infection'] at ")


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"predict", "race", "rank", "robustness", "stop_early"}
