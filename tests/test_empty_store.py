"""The report of a machine that pulled the stages' results, and has an empty store, is that of the machine that made them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.score import scorer

TABLES = ("dice.csv", "tis.csv", "selectors.csv", "contrasts.csv", "metrics.json", "dice_by_epoch.png")


def tables() -> dict[str, bytes]:
    return {name: (Path("reports") / name).read_bytes() for name in TABLES}


@pytest.mark.slow
def test_an_empty_store_is_filled_and_gives_the_same_report(
    workplace: Path, empty_store: Path, tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
):
    params = tiny_params({"finetune.overlays": 0, "report.least": 0})
    text = study.study(params)
    made = tables()
    assert made["tis.csv"].count(b"\n") > 10  # it judges something
    for name in ("mlartifacts", "reports"):
        shutil.rmtree(workplace / name)
    (workplace / "away").mkdir()
    for name in ("data", "checkpoints"):  # the tables need no more than the results
        (workplace / name).rename(workplace / "away" / name)
    shutil.copy(empty_store, workplace / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'other.db'}")
    assert study.report(params) == text
    assert tables() == made
    assert (len(tracking.read_runs("finetune")), len(tracking.read_runs("score"))) == (16, 1)
    study.report(params)
    assert tables() == made
    assert (len(tracking.read_runs("finetune")), len(tracking.read_runs("score"))) == (16, 1)
    assert len(tracking.read_runs("report")) == 1
    for name in ("data", "checkpoints"):
        (workplace / "away" / name).rename(workplace / name)
    names = ("models/**/metrics.json", "models/**/*.safetensors", "scores/**/*.json", "scores/**/*.npz")
    files = {path: path.stat().st_mtime_ns for name in names for path in Path().glob(name)}
    monkeypatch.setattr("medtransfer.finetune.train.train", None)  # whatever is computed again breaks off
    monkeypatch.setattr(scorer, "measure", None)
    study.score(params)
    study.finetune(params, study.study_cells(params, {}))
    assert (len(tracking.read_runs("finetune")), len(tracking.read_runs("score"))) == (16, 1)
    assert len(files) == 2 * 16 + 2 * 4 + 2
    assert {path: path.stat().st_mtime_ns for path in files} == files
