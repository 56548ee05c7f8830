"""The scripts in examples/ run, and print what they promise."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"rank", "robustness", "stop_early"}
