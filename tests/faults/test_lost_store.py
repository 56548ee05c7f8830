"""The store is lost while a real stage works: the stage ends well, and the next command publishes the run it would have left."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from requests.exceptions import ConnectionError as NoConnection

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.records import CellName
from medtransfer.tracking import query, retry

pytestmark = pytest.mark.slow
STAGES: dict[str, tuple[Callable[[Params], object], str]] = {  # command, folder of its results
    "pretrain": (study.pretrain, "checkpoints"),
    "score": (study.score, "scores"),
    "finetune": (lambda params: study.finetune(params, [CellName("sample", "unet", "simple", 3, "full", 7)]), "models"),
}
REQUESTS = ("log_batch", "set_terminated", "create_run", "search_experiments", "log_artifacts", "log_artifact", "log_inputs")


class Wire:
    """Counts the requests to the store, and refuses them from a certain one on."""

    def __init__(self, patch: pytest.MonkeyPatch, down_at: int | None = None) -> None:
        self.calls, self.down_at = 0, down_at
        for name in REQUESTS:
            patch.setattr(MlflowClient, name, self._through(getattr(MlflowClient, name)))
        patch.setattr(query, "tables", self._through(query.tables))

    def _through(self, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.down_at is not None and self.calls > self.down_at:
                raise NoConnection("connection refused")
            return function(*arguments, **options)

        return call


def the_run(stage: str) -> dict[str, Any]:
    """Return what the only run of a stage holds and that does not say when it was written."""
    (run,) = tracking.read_runs(stage)
    assert tracking.read_runs(stage, status="RUNNING") == []
    inputs = tracking.connect().get_run(run.id).inputs.dataset_inputs
    with tracking.artifact_folder(run.id, "") as folder:
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    tags = {name: text for name, text in run.tags.items() if name not in {"mlflow.user", "seconds", "machine"}}
    return {
        "params": run.params, "tags": tags, "files": files,
        "curves": {name: tracking.read_curve(run.id, name) for name in run.metrics},
        "inputs": [(entry.dataset.name, entry.dataset.digest, entry.tags[0].value) for entry in inputs],
    }  # fmt: skip


@pytest.fixture(scope="module")
def usual(shared_workplace: Path, tiny_params: Callable[..., Params]) -> tuple[Path, dict[str, int], dict[str, dict[str, Any]]]:
    """Run the stages undisturbed; return their folder, the requests of each, and their runs."""
    params, requests = tiny_params({"finetune.overlays": 0}), {}
    study.prepare(params)
    for stage, (command, _) in STAGES.items():
        with pytest.MonkeyPatch.context() as patch:
            wire = Wire(patch)
            command(params)
        requests[stage] = wire.calls
    return shared_workplace, requests, {stage: the_run(stage) for stage in STAGES}


@pytest.mark.parametrize("moment", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("stage", STAGES)
def test_the_next_command_publishes_what_a_lost_store_missed(
    stage: str, moment: float, usual: tuple[Path, dict[str, int], dict[str, Any]], workplace: Path,
    tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    finished, requests, runs = usual
    command, results = STAGES[stage]
    for name in ("data", "checkpoints", "scores"):
        if name != results:
            shutil.copytree(finished / name, workplace / name)
    params = tiny_params({"finetune.overlays": 0})
    monkeypatch.setattr(retry, "PATIENCE", 0.2)
    with monkeypatch.context() as patch:
        Wire(patch, down_at=int(requests[stage] * moment))
        command(params)
    assert [run.stage for run in tracking.missed_runs()] == [stage]
    study.reach_store(params, study.RESULTS)
    assert tracking.missed_runs() == [] and the_run(stage) == runs[stage]
    study.reach_store(params, study.RESULTS)
    command(params)
    assert len(tracking.read_runs(stage)) == 1
