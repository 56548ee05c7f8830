"""Cases made by hand, and a store with a planted answer, that the tests of the search share."""

import csv
import io
import shutil
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtransfer import tracking
from medtransfer.config import Search
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.pairs import Pairs, write_pairs
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.records import Score, Scores, write_text
from medtransfer.search import plots
from medtransfer.search.evaluate import Case, Curve, Key, Measured, Values
from medtransfer.search.results import read_own
from medtransfer.search.stage import run
from medtransfer.tasks import TASKS

PAIRS = tuple(product(("cosine", "l2"), (-1, -2)))
TIS = {0: 0.25, 1: 0.5, 5: 0.75, 10: 1.0}


class Constant:
    """A checkpoint of the same robustness at every margin."""

    def __init__(self, value: float) -> None:
        self.value = value

    def robustness(self, margins: Values) -> Values:
        """Return the robustness, whatever the margins."""
        return np.full(len(margins), self.value)


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """Return a maker of cases whose robustness, at each (distance, level), is highest at the epoch named for it, else at 1."""

    def make(target: str, favours: Mapping[tuple[str, int], int], encoder: str = "unet", mode: str = "full") -> Case:
        scores: dict[Key, dict[int, Curve]] = {
            (*pair, pooled): {epoch: Constant(0.9 if epoch == favours.get(pair, 1) else 0.1) for epoch in TIS}
            for pair, pooled in product(PAIRS, (False, True))
        }
        measured, metric = Measured(frozenset(PAIRS)), TASKS["segmentation"].primary
        return Case(f"{encoder} {target} {mode}", encoder, target, mode, f"imagenet {encoder}", TIS, scores, measured, metric)

    return make


DICE = {0: 0.16, 1: 0.32, 5: 0.8, 10: 0.48}  # TIS .2 .4 1 .6
DEFAULT = {"distance": "l2", "margin": 0.5, "level": -1}
# Cosine at the last level finds the best checkpoint of two targets; l2 at the one before finds only the third's.
CHOSEN = {
    "moon": {("cosine", -1): 5, ("l2", -2): 10}, "sun": {("cosine", -1): 5, ("l2", -2): 10},
    "star": {("cosine", -1): 1, ("l2", -2): 5},
}  # fmt: skip
SECTION: dict[str, Any] = {
    "out": "search", "results": "own", "per_encoder": False, "indicators": ["robustness"], "distances": ["cosine", "l2"],
    "margins": {"low": 0.0, "high": 0.5, "step": 0.5}, "levels": [-1, -2], "poolings": ["frozen", "never"],
}  # fmt: skip


class Lab:
    """A working folder with a store: plants results, searches them, reads what was written."""

    pairs, chosen, dice = PAIRS, CHOSEN, DICE

    def add_dice(self, target: str, encoder: str = "unet", dice: Mapping[int, float] = DICE, mode: str = "full") -> None:
        """Plant the fine-tunings of one configuration, one seed each."""
        fields = {"source": "imagenet", "origin": "simple", "encoder": encoder, "target": target, "mode": mode, "seed": 1,
                  "pretraining": f"pre-{encoder}", "data": f"data-{target}", "protocol": "prot", "primary": "dice"}  # fmt: skip
        cells = [({**fields, "epoch": epoch}, value) for epoch, value in dice.items()]
        records = [tracking.RunRecord(target, digest(cell, 16), cell, {"dice": value}) for cell, value in cells]
        tracking.write_runs("finetune", records, "runs")

    def add_scores(
        self, target: str, chosen: Mapping[tuple[str, int], int], encoder: str = "unet", without: int | None = None
    ) -> None:
        """Plant distances that are far better at the epoch chosen for a (distance, level), or else at epoch 0."""
        params = {"encoder": encoder, "target": target, "origin": "simple", "pretraining": f"pre-{encoder}",
                  "data": f"data-{target}", "images": "4", **DEFAULT}  # fmt: skip
        folder = Path("scores", target, encoder)
        with tracking.open_run("score", target, digest(params, 16), params, {}) as handle:
            curve = dict.fromkeys(DICE, 0.5)
            handle.log_curves({"robustness": curve, "robustness_pooled": curve})
            for epoch in (epoch for epoch in DICE if epoch != without):
                d_pos = {
                    (*pair, pooled): np.full((1, 4), 0.1 if chosen.get(pair, 0) == epoch else 1.2, np.float32)
                    for pair in PAIRS for pooled in (False, True)
                }  # fmt: skip
                pairs = Pairs(d_pos, {key: np.ones((1, 4), np.float32) for key in d_pos}, list("abcd"), np.arange(4))
                write_pairs(folder / f"epoch-{epoch:03d}.npz", pairs)
            handle.log_artifact(folder, "scores")

    def add_indicator(
        self, target: str, indicator: str, values: Mapping[int, float | None], level: int = -2, unfit: int | None = None
    ) -> None:
        """Plant a score run of its own with the values of another indicator, those of one epoch of features that are not finite."""
        params = {"encoder": "unet", "target": target, "origin": "simple", "source": "imagenet", "pretraining": "pre-unet",
                  "data": f"data-{target}", "images": 4}  # fmt: skip
        folder = Path("indicators", target, indicator, str(level))
        for epoch, value in values.items():
            row = Score(indicator, {"level": level, "pixels": 10}, value, flags={"nonfinite": 1} if epoch == unfit else {})
            Scores(**params, epoch=epoch, weights=f"w{epoch}", source_accuracy=None, settings={}, rows=[row], notes={}).write(
                folder / f"epoch-{epoch:03d}.json"
            )
        with tracking.open_run("score", target, digest([params, indicator, level], 16), params, {}) as handle:
            handle.log_artifact(folder, "scores")

    def search(self, **changed: Any) -> str:
        """Search with a section of which the given keys are changed; the default setting is l2, margin .5, level -1, frozen."""
        section, default = Search.model_validate({**SECTION, **changed}), RobustnessSetting("l2", 0.5, -1, "frozen")
        tried = set(product(section.distances, section.levels))
        results = read_own(default, tried, least=0.1, indicators=section.indicators)
        return run(section, results, default, 0.95, 0.01).texts[0]

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of trials.csv."""
        return list(csv.DictReader(io.StringIO(Path("search/trials.csv").read_text())))

    def family(self) -> tuple[list[tracking.StoredRun], list[tracking.StoredRun]]:
        """Return the finished parents, the newest first, and the children."""
        runs = tracking.read_runs("search")
        parents = [run for run in runs if tracking.PARENT not in run.tags]
        return parents, [run for run in runs if tracking.PARENT in run.tags]


@pytest.fixture
def lab(workplace: Path) -> Lab:
    """Work in an empty folder with an empty store."""
    return Lab()


@pytest.fixture(scope="session")
def planted_store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Plant the answer once; the tests work on copies of the store, whose artifacts stay where they are."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        for target, chosen in CHOSEN.items():
            Lab().add_dice(target)
            Lab().add_scores(target, chosen)
    return folder / "mlflow.db"


@pytest.fixture
def planted(lab: Lab, planted_store: Path, workplace: Path) -> Lab:
    """Work in a folder with the planted store."""
    shutil.copy(planted_store, workplace / "mlflow.db")
    return lab


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write placeholders, since drawing takes most of the time of a search; test_plots.py draws."""
    monkeypatch.setattr(plots, "_save", lambda path, *_: write_text(path, "a picture"))
