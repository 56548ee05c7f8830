"""The report of a machine that pulled the stages' results, and has an empty store, is that of the machine that made them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medtransfer import pipeline, tracking
from medtransfer.config import Params

TABLES = ("dice.csv", "tis.csv", "selectors.csv", "contrasts.csv", "metrics.json", "dice_by_epoch.png")


def tables() -> dict[str, bytes]:
    return {name: (Path("reports") / name).read_bytes() for name in TABLES}


@pytest.mark.slow
def test_an_empty_store_is_filled_and_gives_the_same_report(
    workplace: Path, empty_store: Path, tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
):
    params = tiny_params({"finetune.overlays": 0})
    said = pipeline.study(params)
    made = tables()
    assert made["tis.csv"].count(b"\n") > 10  # it judges something
    for name in ("mlartifacts", "reports", "data", "checkpoints"):
        shutil.rmtree(workplace / name)
    shutil.copy(empty_store, workplace / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'other.db'}")
    assert pipeline.report(params) == said
    assert tables() == made
    assert (len(tracking.read_runs("finetune")), len(tracking.read_runs("score"))) == (16, 1)
    pipeline.report(params)
    assert tables() == made
    assert (len(tracking.read_runs("finetune")), len(tracking.read_runs("score"))) == (16, 1)
    assert len(tracking.read_runs("report")) == 1
