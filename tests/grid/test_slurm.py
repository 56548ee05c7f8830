"""A study as job arrays: on Slurm where there is one, else on an executable of the same protocol."""

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.real_slurm import list_nodes

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.errors import InputError, TemporaryError
from medtransfer.grid import slurm, slurm_queue, slurm_task, store_settings
from medtransfer.grid.jobs import plan
from medtransfer.grid.same_results import give_same_results
from medtransfer.grid.slurm import Slurm, group, read_batch
from medtransfer.grid.slurm_script import times
from medtransfer.grid.stage import run
from medtransfer.grid.worker import BACK, RETRY
from medtransfer.tracking import write_ahead

pytestmark = pytest.mark.long
# A task that runs until a test makes the file `end`, or a minute at most; then it fails.
RUNNING = "#!/bin/bash\n#SBATCH --array=0-0 --output=o\nfor _ in {1..600}; do [ -e end ] && exit 1; sleep 0.1; done\nexit 1\n"
LAUNCHER = {"grid.launcher": "slurm", "grid.resources": {"pretrain": {"memory_gb": 2, "time": "30"}}}


@pytest.mark.slow
def test_a_study_runs_on_slurm(
    study: Callable[..., Params], command: Callable[..., Any], assert_each_once: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    if not list_nodes():
        pytest.skip("there is no Slurm here")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    study({**LAUNCHER, "grid.resources": {}, "grid.slurm": {"per_task": 4}})
    output = command().end()
    assert "8 x finetune in 2 tasks after " in output and "8 cells done, 0 failed, 0 remaining" in output
    assert_each_once()


@pytest.mark.slow
def test_a_study_runs_by_the_protocol_and_a_preempted_task_resumes(
    fake: Path, study: Callable[..., Params], command: Callable[..., Any], assert_each_once: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    (fake / "preempted").write_text("-pretrain")
    study({**LAUNCHER, "grid.slurm": {"per_task": 8}})  # a process for all fine-tunings
    output = command().end()
    assert "8 cells done, 0 failed, 0 remaining" in output and (fake / "requeued").exists()
    assert_each_once()
    submitted = [line.split() for line in (fake / "submitted").read_text().splitlines()]
    assert [words[-1].split("-")[-1] for words in submitted] == [
        f"{kind}/script.sh" for kind in ("prepare", "pretrain", "score", "finetune")
    ]
    assert [word for words in submitted for word in words if "dependency" in word] == ["--dependency=afterok:1_0:2_0"] * 2
    assert "8 cells done" in command().end()  # nothing is submitted again
    assert len((fake / "submitted").read_text().splitlines()) == 4


def test_what_needs_a_failed_job_is_given_back(fake: Path, study: Callable[..., Params]) -> None:
    """The pretraining fails at once, since it has no source; its task exits with 1, and Slurm drops what waits for it."""
    params = study({**LAUNCHER, "pretrain.source_root": "nowhere", "grid.retries": 0})
    jobs = plan(params)
    launcher = slurm.SlurmLauncher(params, jobs, Path("logs"))
    for job in jobs:
        launcher.submit(job)
    outcomes = {}
    while launcher.tasks or not outcomes:
        outcomes |= {job.kind: outcome for job, outcome in launcher.outcomes()}
    assert (outcomes["pretrain"].status, outcomes["score"].status, outcomes["finetune"].status) == ("failed", BACK, BACK)
    assert "nowhere" in outcomes["pretrain"].reason and outcomes["prepare"].status == "done"


def test_a_task_that_died_is_retried_and_one_in_the_queue_is_followed(
    fake: Path, study: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "script", lambda *_: RUNNING)
    params = study(LAUNCHER)
    job = plan(params)[0]
    launcher = slurm.SlurmLauncher(params, [job], Path("logs"))
    launcher.submit(job)
    launcher._submit()
    again = slurm.SlurmLauncher(params, [job], Path("logs"))  # of the same command, after it was interrupted
    assert again.tasks == launcher.tasks
    again.submit(job)
    again.tasks[job].begun.touch()
    Path("end").touch()
    ((ended, outcome),) = again.outcomes()
    assert (ended, outcome.status) == (job, RETRY) and "its Slurm task 1_0 ended without a result; see logs" in outcome.reason
    assert len((fake / "submitted").read_text().splitlines()) == 1
    assert not slurm.SlurmLauncher(params, [job], Path("logs")).tasks


@pytest.fixture
def waiting(fake: Path, study: Callable[..., Params], monkeypatch: pytest.MonkeyPatch) -> slurm.SlurmLauncher:
    """Launcher whose preparation waits in the queue."""
    monkeypatch.setattr(slurm, "script", lambda *_: RUNNING)
    params = study(LAUNCHER)
    launcher = slurm.SlurmLauncher(params, plan(params)[:1], Path("logs"))
    launcher.submit(launcher.jobs[0])
    launcher._submit()
    return launcher


def test_jobs_of_other_params_or_another_store_are_not_followed(
    waiting: slurm.SlurmLauncher, study: Callable[..., Params], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for elsewhere in (
        {"study.seeds": [7]},
        {"grid.workers": 1, "finetune.workers": 1},
        {"race.eta": 5},
        {"pretrain.seed": 6, "finetune.out": "elsewhere", "score.accelerator": "gpu"},
        {"study.pretraining_seeds": [3, 4]},
    ):
        assert slurm.SlurmLauncher(study({**LAUNCHER, **elsewhere}), waiting.jobs, Path("logs")).tasks == waiting.tasks
    message = "the arrays 1 of other params .* are in Slurm's queue and would write them; end them by `scancel 1`"
    with pytest.raises(InputError, match=message):
        slurm.SlurmLauncher(study({**LAUNCHER, "samples.seed": 6}), waiting.jobs, Path("logs"))
    others = study({**LAUNCHER, "samples.seed": 6, "prepare.out": "other"})  # writes other results
    assert not slurm.SlurmLauncher(others, waiting.jobs, Path("logs")).tasks
    assert slurm.SlurmLauncher(waiting.params, waiting.jobs, Path("logs")).tasks == waiting.tasks  # still known
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(InputError, match=message):
        slurm.SlurmLauncher(waiting.params, waiting.jobs, Path("logs"))


def test_the_section_of_a_stage_counts_for_its_own_jobs(study: Callable[..., Params]) -> None:
    params, other = study(), study({"race.eta": 5})
    assert params.race.eta != other.race.eta
    assert give_same_results(params, other, Path("grid/slurm"), "finetune")
    assert not give_same_results(params, other, Path(params.race.out) / "logs" / "slurm", "finetune")


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({"finetune.accelerator": "gpu", "score.batch_size": 2, "finetune.seed": 99}, {"prepare", "pretrain", "score", "finetune"}),
        ({"score.out": "elsewhere"}, {"prepare", "pretrain", "finetune"}),
        ({"score.out": "elsewhere", "pretrain.stop_on": "sample"}, {"prepare"}),
        ({"finetune.lr": 0.5}, {"prepare", "pretrain", "score"}),
        ({"pretrain.seed": 6}, {"prepare"}),
        ({"samples.seed": 6}, set()),
    ],
)
def test_jobs_are_followed_unless_something_that_their_results_depend_on_has_changed(
    changed: dict[str, object], kinds: set[str], study: Callable[..., Params]
) -> None:
    stop = {key: value for key, value in changed.items() if key == "pretrain.stop_on"}
    ours, theirs = study(stop), study(changed)
    every = ("prepare", "pretrain", "score", "finetune")
    assert {kind for kind in every if give_same_results(ours, theirs, Path("grid/slurm"), kind)} == kinds


def test_a_task_writes_to_the_store_of_its_command(
    study: Callable[..., Params], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("MLFLOW_RUN_ID", "of-the-study")
    params = study(LAUNCHER)
    folder = Slurm().write_scripts(params, plan(params)[:1], Path("grid"))[0].parent
    assert (folder / "store.json").stat().st_mode & 0o777 == 0o600 and "secret" not in (folder / "script.sh").read_text()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name)  # as by SBATCH_EXPORT=NONE
    store_settings.use_store(folder, "slurm")
    assert (os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == (uri, "secret")
    assert "MLFLOW_RUN_ID" not in os.environ
    with monkeypatch.context() as patch:
        patch.setattr(store_settings.socket, "gethostname", lambda: "node7")
        with pytest.raises(InputError, match="an SQLite file of .*, which node7 does not share; start `mlflow server`"):
            store_settings.use_store(folder, "slurm")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another:5000")
    assert slurm_task.main(folder, 0) == 2
    outcome = json.loads((folder / "outcome-0.json").read_text())
    assert outcome["status"] == "failed" and "MLFLOW_TRACKING_URI is http://another:5000" in outcome["reason"]
    assert read_batch(folder) is not None


def test_a_queue_that_cannot_be_read_is_asked_again_then_left(
    waiting: slurm.SlurmLauncher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    squeue = tmp_path / "bin" / "squeue"
    working, says = squeue.read_text(), "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    squeue.write_text(f"#!/bin/bash\n{says}\n")
    monkeypatch.setattr(slurm_queue, "SECONDS_BETWEEN_TRIES", 0.01)
    monkeypatch.setattr(slurm_queue, "SECONDS_TO_RECOVER", 0.05)
    message = "the arrays that are submitted go on, and the same command follows them again"
    with pytest.raises(TemporaryError, match=f"`squeue` says .*Unable to contact slurm controller; {message}"):
        list(waiting.outcomes())
    assert "Unable to contact slurm controller; it is asked again" in caplog.text
    (tmp_path / "working").write_text(working)
    (tmp_path / "working").chmod(0o755)
    squeue.write_text(f"#!/bin/bash\nmv {tmp_path}/working {squeue}\n{says}\n")  # fails once
    monkeypatch.setattr(slurm_queue, "SECONDS_TO_RECOVER", 60)
    assert slurm_queue.queued({"1"}) == {"1_0"}


@pytest.mark.parametrize(
    ("duration", "tripled"),
    [
        ("30", "0-01:30:00"), ("20:30", "0-01:01:30"), ("10:00:00", "1-06:00:00"), ("1-12", "4-12:00:00"), ("1-0:30", "3-01:30:00"),
        ("2-01:00:20", "6-03:01:00"),
    ],
)  # fmt: skip
def test_a_time_limit_is_multiplied_in_each_of_slurms_forms(duration: str, tripled: str) -> None:
    assert times(duration, 3) == tripled and times(duration, 1) == duration


def test_a_task_has_the_time_of_the_jobs_that_it_runs_one_after_the_other(study: Callable[..., Params]) -> None:
    resources = {"pretrain": {"time": "2:00:00"}, "finetune": {"gpus": 0.5, "time": "2:00:00"}}
    params = study(
        {"grid.launcher": "slurm", "finetune.accelerator": "auto", "grid.resources": resources, "grid.slurm.per_task": 3}
    )
    scripts = {
        path.parent.name.split("-")[1]: path.read_text() for path in Slurm().write_scripts(params, plan(params), Path("grid"))
    }
    assert "--time=2:00:00\n" in scripts["pretrain"]  # there is one
    assert "--time=0-06:00:00\n" in scripts["finetune"] and "--array=0-1" in scripts["finetune"]  # 8 cells, 6 of them in a task


def test_how_many_jobs_run_at_once_is_unknown_without_a_limit(study: Callable[..., Params]) -> None:
    params, limited = study(LAUNCHER), study({**LAUNCHER, "grid.slurm.at_once": 2})
    jobs = plan(params)
    assert slurm.SlurmLauncher(params, jobs, Path("logs")).at_once(jobs[-1]) == math.inf
    assert slurm.SlurmLauncher(limited, jobs, Path("logs")).at_once(jobs[-1]) == 2


def test_the_script_asks_for_what_each_kind_of_job_takes(study: Callable[..., Params]) -> None:
    accelerators = {f"{stage}.accelerator": "auto" for stage in ("pretrain", "score", "finetune")}
    resources = {
        "pretrain": {"cpus": 8, "gpus": 1, "memory_gb": 32, "time": "1-12"}, "finetune": {"gpus": 0.5, "cpus": 2, "memory_gb": 4},
        "prepare": {"cpus": 3},
    }  # fmt: skip
    options = {"grid.slurm.at_once": 3, "grid.slurm.options": ["--partition=gpu"], "grid.slurm.setup": ["module load cuda"]}
    params = study({"grid.launcher": "slurm", **accelerators, "grid.resources": resources, **options})
    scripts = {
        path.parent.name.split("-")[1]: path.read_text() for path in Slurm().write_scripts(params, plan(params), Path("grid"))
    }
    assert list(scripts) == ["prepare", "pretrain", "score", "finetune"]
    asked = {
        kind: [line[len("#SBATCH --") :] for line in text.splitlines() if line.startswith("#SBATCH")]
        for kind, text in scripts.items()
    }
    assert {"cpus-per-task=8", "gres=gpu:1", "mem=32000M", "time=1-12", "array=0-0%3", "partition=gpu"} <= set(asked["pretrain"])
    # eight cells, two of which share a GPU in each task
    assert {"cpus-per-task=4", "gres=gpu:1", "mem=8000M", "array=0-3%3"} <= set(asked["finetune"])
    assert "cpus-per-task=3" in asked["prepare"] and not any("gres" in option for option in asked["prepare"])
    assert all("requeue" in options and "signal=B:TERM@120" in options for options in asked.values())
    assert "\nmodule load cuda\nexec " in scripts["score"] and "# after: pretrain unet-simple" in scripts["score"]
    for text in scripts.values():
        assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_large_arrays_are_divided(study: Callable[..., Params]) -> None:
    params = study({"grid.launcher": "slurm", "study.seeds": list(range(600)), "grid.slurm.per_task": 2})
    batches = [batch for batch in group(params, plan(params), True) if batch.kind == "finetune"]
    assert [(len(batch.jobs), batch.tasks) for batch in batches] == [(2000, 1000), (400, 200)]  # 2,400 cells


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\nsbatch: fatal: Could not establish a "
        "configuration source",
    ],
)
def test_where_no_controller_answers_one_sentence_says_so(
    words: str, fake: Path, study: Callable[..., Params], tmp_path: Path
) -> None:
    (tmp_path / "bin" / "sbatch").write_text(f"#!/bin/bash\necho '{words}' >&2; exit 1\n")
    with pytest.raises(
        TemporaryError, match=r"^expected Slurm's controller to take the jobs, but it does not answer on \S+ \(sbatch: .*\); run"
    ):
        run(study(LAUNCHER))


def test_slurm_needs_its_commands_and_a_store_of_all_hosts(
    study: Callable[..., Params], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    params = study(LAUNCHER)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(InputError, match="Slurm's commands sbatch and squeue .* not on the PATH; .* `medtransfer grid --plan`"):
            run(params)
    request.getfixturevalue("fake")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/home {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(write_ahead, "_MOUNTS", mounts)
    with pytest.raises(InputError, match="a tracking server for the launcher slurm, but got sqlite.* on a network file system"):
        run(params)
    assert tracking.read_runs("grid", status="RUNNING") == []
