"""What every launcher does: it runs jobs, says why one failed, and answers what is asked of it before any job runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from medtransfer import study as stages
from medtransfer.config import Params
from medtransfer.grid.jobs import Job, plan
from medtransfer.grid.launcher import LauncherKind
from medtransfer.grid.scheduling import launch, work
from medtransfer.grid.worker import Outcome
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.records import TARGET_FILE


class Seen:
    """Keeps the outcomes of jobs."""

    def __init__(self) -> None:
        """Start with none."""
        self.outcomes: dict[str, Outcome] = {}

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Keep an outcome."""
        self.outcomes[job.name] = outcome

    def drop(self, job: Job) -> None:
        """Do nothing."""


@pytest.fixture
def params(study: Callable[..., Params], workplace: object, fake: object, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Params of two targets, one of which has no data; Slurm's commands are fake ones."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    params = study({"grid.workers": 1, "finetune.accelerator": "cpu", "grid.slurm.per_task": 1})
    targets = params.prepare.targets
    lost = targets["sample"].model_copy(update={"root": "nowhere"})
    return stages.with_values(params, "prepare", targets={**targets, "lost": lost})


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_is_asked_before_any_job_runs(name: str, params: Params) -> None:
    kind, jobs = LAUNCHERS[name], plan(params)
    assert isinstance(kind, LauncherKind) and {type(kind.here), type(kind.queues)} == {bool}
    kind.check(params, jobs, "cpu")
    assert kind.is_single(params, 1, jobs, "cpu") == kind.here and not kind.is_single(params, 2, jobs, "cpu")
    assert kind.at_once(params, 2, jobs, "cpu") == (dict.fromkeys((job.kind for job in jobs), 2) if kind.here else {})
    scripts = kind.write_scripts(params, jobs, Path(params.grid.out))
    assert all(path.is_relative_to(params.grid.out) and path.is_file() for path in scripts)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHERS)
def test_jobs_are_run_and_a_failed_one_says_why(name: str, params: Params) -> None:
    jobs, seen, failed, done = [Job("prepare", "sample"), Job("prepare", "lost")], Seen(), {}, set()
    launcher = launch(params, name, 1, jobs, "cpu", Path(params.grid.out))
    try:
        assert launcher.workers >= 1 and launcher.at_once(jobs[0]) > 0 and launcher.has_room(jobs[0])
        work(jobs, launcher, 0, seen, done, failed)
    finally:
        launcher.close()
    assert {job.target for job in done} == {"sample"} and (Path(params.prepare.out) / "sample" / TARGET_FILE).exists()
    (reason,) = failed.values()
    assert "nowhere" in reason and seen.outcomes["prepare sample"].status == "done"
