"""The study on real images, minutes long: every reader, stage and table of `make real`, by its real command."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medtransfer.selectors.selectors import SELECTORS

PROJECT = Path(__file__).parent.parent
TARGETS = {"acdc", "covid-qu", "idrid"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "configs", tmp_path / "configs")
    shorter = {
        "score": {"max_images": 24, "indicators": ["robustness", "uniformity", "rankme", "ridge", "logme"]},
        "finetune": {"train_epochs": 1, "epoch_steps": 6, "overlays": 1},
        "report": {"draws": 200},
        "rank": {"max_images": 24, "indicators": ["robustness", "ridge"]},
    }  # fmt: skip
    (tmp_path / "shorter.yaml").write_text(yaml.safe_dump(shorter))
    return tmp_path


def run_study(place: Path, realdata: Path) -> subprocess.CompletedProcess[str]:
    files = ("configs/real.yaml", "configs/real-short.yaml", "shorter.yaml")
    command = [sys.executable, "-m", "medtransfer", "demo", *(word for name in files for word in ("--params", name))]
    environment = {**os.environ, "REALDATA": str(realdata.resolve()), "PYTHONPATH": str(PROJECT / "src")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=1500)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def count_reused(place: Path) -> int:
    """Count the reused results in the logs of the workers; with one core there are none."""
    return sum(path.read_text(encoding="utf-8").count("reused") for path in place.glob("real/grid/*.log"))


@pytest.mark.slow
def test_the_whole_path_on_real_images(place, realdata):
    first = run_study(place, realdata)
    assert first.returncode == 0, first.stderr[-3000:]
    dice = read(place / "real/reports/dice.csv")
    assert {(row["target"], row["mode"], row["epoch"]) for row in dice} == {
        (target, mode, epoch) for target in TARGETS for mode in ("full", "decoder") for epoch in ("0", "1", "2")
    }
    assert all(0 <= float(row["dice_mean"]) <= 1 and row["robustness"] for row in dice)
    tis = read(place / "real/reports/tis.csv")
    oracles = [row for row in tis if row.get("selector") == "oracle"]
    text = (place / "real/reports/report.md").read_text(encoding="utf-8")
    unjudged = text.count("Not judged: ")
    assert len(oracles) + unjudged == 6  # so short that some learn nothing
    assert all(float(row["tis"]) == 1 for row in oracles)
    expected = {name for name, s in SELECTORS.items() if not s.trial} | {"fixed-1", "fixed-2"}  # one seed
    for row in oracles:
        assert {r["selector"] for r in tis if (r["target"], r["mode"]) == (row["target"], row["mode"])} == expected
    assert "## Missing" not in text

    reused = count_reused(place)
    results = {path: path.stat().st_mtime_ns for path in place.glob("real/models/**/*.safetensors")}
    assert len(results) == 18
    second = run_study(place, realdata)
    assert second.returncode == 0 and second.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in place.glob("real/models/**/*.safetensors")} == results
    jobs = 18 + 3 + 3 + 1  # fine-tunings, scorings, preparations and a pretraining
    found_at_once = f"grid: {jobs} reused, 0 to do" in second.stderr
    assert found_at_once or count_reused(place) + second.stderr.count("reused") - reused >= jobs  # one by one with one core
