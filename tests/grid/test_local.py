"""A study in processes of this machine: order, GPUs, retries, interruption, and processes that die."""

import os
import signal
import subprocess
import sys
import zipapp
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import InputError, StageError, TemporaryError
from medtransfer.grid import local, stage
from medtransfer.grid.jobs import Job, plan
from medtransfer.grid.resources import Machine
from medtransfer.grid.worker import DONE, FAILED, RETRY, Outcome, attempt
from medtransfer.records import CellName
from medtransfer.tracking import StoreLost


class Scripted:
    """A fake launcher with two free workers that records its jobs; outcomes are scripted by job name."""

    size = workers = 2
    orders = False

    def __init__(self, outcomes: dict[str, list[str]] | None = None) -> None:
        self.script, self.submitted, self.running, self.closed = outcomes or {}, list[str](), list[Job](), False

    def at_once(self, job: Job) -> float:
        return self.size

    def has_room(self, job: Job) -> bool:
        return len(self.running) < self.size

    def submit(self, job: Job) -> None:
        assert self.has_room(job)
        self.submitted.append(job.name)
        self.running.append(job)

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        job = self.running.pop(0)
        statuses = self.script.get(job.name, [])
        yield job, Outcome(statuses.pop(0) if statuses else DONE, "the reason", 1.0)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def scripted(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Scripted, str]]:
    """Function that runs a study on a scripted launcher; returns the launcher and the summary or error."""

    def run(params: Params, outcomes: dict[str, list[str]] | None = None) -> tuple[Scripted, str]:
        launcher = Scripted(outcomes)
        monkeypatch.setattr(stage, "launch", lambda *_: launcher)
        try:
            return launcher, stage.run(params)
        except StageError as error:
            return launcher, str(error)

    return run


def test_a_pretraining_waits_for_the_one_that_it_continues_from(tiny_params: Callable[..., Params]) -> None:
    params = tiny_params({"study.origins": ["continued", "simple"], "pretrain.from": "simple@1"})
    jobs = {job.name: job for job in plan(params)}
    assert jobs["pretrain unet-continued"].needs == {jobs["pretrain unet-simple"]} and not jobs["pretrain unet-simple"].needs
    alone = plan(tiny_params({"study.origins": ["continued"], "pretrain.from": "simple"}))
    assert all(not job.needs for job in alone if job.kind == "pretrain")  # it takes the other one as it is, or makes it


def test_an_average_waits_for_the_checkpoints_that_it_is_of(tiny_params: Callable[..., Params]) -> None:
    soup = {"kind": "soup", "of": "simple", "epochs": [1, 2], "images": 6}
    jobs = {job.name: job for job in plan(tiny_params({"study.origins": ["mean", "simple"], "pretrain.origins.mean": soup}))}
    assert jobs["pretrain unet-mean"].needs == {jobs["pretrain unet-simple"]} and not jobs["pretrain unet-simple"].needs


def test_every_cell_needs_its_target_and_pretraining(tiny_params: Callable[..., Params]) -> None:
    jobs = plan(tiny_params({"study.origins": ["simple", "advanced"]}))
    assert len(jobs) == len(set(jobs)) == 1 + 2 + 2 + 2 * 4 * 2 * 2
    cell = Job.of(CellName("sample", "unet", "advanced", 2, "decoder", 8))
    assert cell in jobs and cell.name == "finetune e002 decoder s8 · unet-advanced → sample"
    assert {job.name for job in cell.needs} == {"prepare sample", "pretrain unet-advanced"}
    assert all(jobs.index(need) < jobs.index(job) for job in jobs for need in job.needs)


def test_every_pretraining_seed_has_its_jobs(tiny_params: Callable[..., Params]) -> None:
    jobs = plan(tiny_params({"study.pretraining_seeds": [1, 2]}))
    assert len(jobs) == len(set(jobs)) == 1 + 2 + 2 + 2 * 4 * 2 * 2
    assert [job.name for job in jobs[1:3]] == ["pretrain unet-simple-s1", "pretrain unet-simple-s2"]


def test_jobs_start_when_what_they_need_is_done(scripted: Callable, tiny_params: Callable[..., Params]) -> None:
    launcher, summary = scripted(tiny_params())
    assert launcher.submitted[:3] == ["prepare sample", "pretrain unet-simple", "score sample-unet-simple"]
    assert len(launcher.submitted) == len(set(launcher.submitted)) == 3 + 16
    assert "16 cells done, 0 failed, 0 remaining" in summary and launcher.closed
    (run,) = tracking.read_runs("grid")
    assert {name: run.metrics[name] for name in ("cells_done", "cells_failed", "cells_remaining", "jobs_done")} == {
        "cells_done": 16, "cells_failed": 0, "cells_remaining": 0, "jobs_done": 19,
    }  # fmt: skip
    assert run.params["cells"] == "16" and run.params["seeds"] == "7,8"


def test_every_size_and_fold_is_a_cell(scripted: Callable, tiny_params: Callable[..., Params]) -> None:
    portions = {"study.sizes": [6, "50%", None], "study.folds": 2, "study.modes": ["full"], "study.seeds": [7]}
    launcher, summary = scripted(tiny_params(portions))
    assert "24 cells done" in summary and "finetune e003 full s7 n50% f2/2 · unet-simple → sample" in launcher.submitted
    (run,) = tracking.read_runs("grid")
    assert (run.params["sizes"], run.params["folds"]) == ("6,0.5,None", "2")


def test_temporary_errors_are_retried_and_failures_named(scripted: Callable, tiny_params: Callable[..., Params]) -> None:
    flaky, bad = "finetune e000 full s7 · unet-simple → sample", "finetune e000 full s8 · unet-simple → sample"
    launcher, summary = scripted(tiny_params(), {flaky: [RETRY, RETRY], bad: [FAILED]})
    assert (launcher.submitted.count(flaky), launcher.submitted.count(bad)) == (3, 1)
    assert summary.startswith(
        f"1 job failed; the first, {bad}: the reason — 15 cells done, 1 failed, 0 remaining; mend what failed, and run the same"
    )
    assert tracking.read_runs("grid") == [] and len(tracking.read_runs("grid", status="FAILED")) == 1


def test_a_job_is_given_up_after_its_retries(scripted: Callable, tiny_params: Callable[..., Params]) -> None:
    launcher, summary = scripted(tiny_params({"grid.retries": 1}), {"pretrain unet-simple": [RETRY] * 9})
    assert launcher.submitted == ["prepare sample", "pretrain unet-simple", "pretrain unet-simple"]
    assert "1 job failed, and 17 jobs that needed what failed were not tried" in summary


def test_a_failed_pretraining_on_several_devices_does_not_end_the_others(
    scripted: Callable, tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """They come before the other jobs, since a local worker has one GPU; the first fails twice, the second always."""
    tried: list[str] = []

    def pretrain_apart(params: Params) -> None:
        tried.append(params.pretrain.origin)
        if params.pretrain.origin == "advanced":
            raise InputError("no such source")
        if tried.count("simple") < 3:
            raise TemporaryError("a process died")

    monkeypatch.setattr(study, "pretrain_apart", pretrain_apart)
    launcher, summary = scripted(tiny_params({"pretrain.devices": 2, "study.origins": ["advanced", "simple"]}))
    assert tried == ["advanced", "simple", "simple", "simple"]
    assert (
        "1 job failed, and 17 jobs that needed what failed were not tried; the first, pretrain unet-advanced: no such source"
        in summary
    )
    assert "16 cells done, 0 failed, 16 remaining" in summary
    assert launcher.submitted[:2] == ["prepare sample", "score sample-unet-simple"]
    assert not any(name.startswith("pretrain") or "advanced" in name for name in launcher.submitted)


def test_a_grid_is_started_once(tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(InputError, match="expected 1 process \\(the grid\\), but srun started 2"):
        stage.run(tiny_params())


def test_cells_without_checkpoint_are_dropped(
    scripted: Callable, tiny_params: Callable[..., Params]
) -> None:  # fmt: skip
    params = tiny_params({"pretrain.stop_on": "sample"})
    folder = Path(params.pretrain.out) / "unet-simple"
    folder.mkdir(parents=True)
    for epoch in (0, 1):
        (folder / f"epoch-{epoch:03d}.json").write_text("{}")
    launcher, summary = scripted(params)
    assert {name.split()[1] for name in launcher.submitted if name.startswith("finetune")} == {"e000", "e001"}
    assert "8 cells done, 0 failed, 0 remaining" in summary


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, DONE, ""),
        (InputError("wrong"), FAILED, "wrong"),
        (StageError("broke"), FAILED, "broke"),
        (StoreLost("gone"), RETRY, "gone"),
        (TemporaryError("a process died"), RETRY, "a process died"),
        (MemoryError("much"), RETRY, "MemoryError: much"),
        (OSError(28, "No space left on device", "/a/file"), FAILED, "the disk that holds /a/file is full"),
    ],
)
def test_errors_become_outcomes(
    error: Exception | None, status: str, reason: str, monkeypatch: pytest.MonkeyPatch, tiny_params: Callable[..., Params]
) -> None:  # fmt: skip
    def run(*_: object) -> None:
        if error:
            raise error

    monkeypatch.setattr(Job, "run", run)
    outcome = attempt(tiny_params(), Job("prepare", "sample"))
    assert outcome.status == status and outcome.reason.startswith(reason) and outcome.seconds >= 0


@pytest.mark.parametrize(
    ("cores", "overrides", "workers"),
    [
        (1, {}, 0),
        (4, {}, 4),
        (4, {"grid.cpus": 2}, 2),
        (4, {"grid.workers": 1}, 0),
        (64, {}, 19),  # as many as there are jobs: 16 cells, a preparation, a pretraining and a score
    ],
)
def test_the_demo_uses_all_cores(
    cores: int, overrides: dict[str, Any], workers: int, workplace: Path, tiny_params: Callable[..., Params],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With one worker there is nothing to share, and the study runs in this process."""
    started: list[int] = []

    def launch(params: Params, number: int, gpus: list[str], logs: Path) -> Scripted:
        started.append(number)
        return Scripted()

    monkeypatch.setenv("MLFLOW_RUN_ID", "of the project")
    monkeypatch.setattr(local, "count_cores", lambda: cores)
    monkeypatch.setattr(local, "LocalLauncher", launch)
    monkeypatch.setattr(study, "study", lambda *_: "the report")
    monkeypatch.setattr(study, "report", lambda _, short: f"the report in {os.environ['MLFLOW_RUN_ID']}")
    said = stage.run_and_report(tiny_params({"grid.workers": None, **overrides}))
    assert started == ([workers] if workers else [])
    assert said == ("the report in of the project" if workers else "the report")


@pytest.mark.parametrize(("cores", "finished"), [(1, False), (2, False), (2, True)])
def test_only_winners_are_kept_wherever_the_study_ran(
    cores: int, finished: bool, workplace: Path, tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """In this process, on workers, or before: models are removed after the last job, and a line says so."""
    ran: list[str] = []
    monkeypatch.setattr(local, "count_cores", lambda: cores)
    monkeypatch.setattr(local, "LocalLauncher", lambda *_: ran.append("workers") or Scripted())
    monkeypatch.setattr(study, "study", lambda *_: ran.append("here") or "the report")
    monkeypatch.setattr(study, "report", lambda *_, short: "the report")
    monkeypatch.setattr(stage, "keep_winners", lambda *_: ran.append("kept") or "kept a; removed 3 other models")
    if finished:
        monkeypatch.setattr(stage, "find_reused", lambda _, jobs: set(jobs))
    with caplog.at_level("INFO", "medtransfer"):
        assert stage.run_and_report(tiny_params({"grid.workers": None})) == "the report"
    assert ran == [*([] if finished else ["here" if cores == 1 else "workers"]), "kept"]
    assert "grid: kept a; removed 3 other models" in caplog.messages


@dataclass
class Workers:
    """Fake processes and pipes: GPU and threads of each started process, and the jobs sent to each; the first is dead."""

    started: list[tuple[str | None, str | None]] = field(default_factory=list)
    sent: list[tuple[int, Job]] = field(default_factory=list)

    def set_forkserver_preload(self, names: list[str]) -> None: ...

    def Pipe(self) -> tuple[Any, Any]:
        number = len(self.started) + 1

        def send(job: Job) -> None:
            if number == 1:
                raise BrokenPipeError
            self.sent.append((number, job))

        return SimpleNamespace(send=send, close=lambda: None), SimpleNamespace(close=lambda: None)

    def Process(self, target: object, args: tuple, daemon: bool) -> Any:
        def start() -> None:
            self.started.append((args[-1], os.environ.get("OMP_NUM_THREADS")))

        return SimpleNamespace(start=start, join=lambda: None)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    fakes = Workers()
    monkeypatch.setattr(local, "get_context", lambda _: fakes)
    return fakes


def test_gpus_are_taken_in_turn(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_params: Callable[..., Params]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-77")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(local, "has_driver", lambda: True)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    local.LocalLauncher(tiny_params(), 3, local.list_gpus(), tmp_path)
    assert [gpu for gpu, _ in workers.started] == ["4", "GPU-77", "4"]
    assert {threads for _, threads in workers.started} == {str(max(1, len(os.sched_getaffinity(0)) // 3))}
    assert "OMP_NUM_THREADS" not in os.environ


def test_no_process_is_started_that_could_not_write_its_log(
    workers: Workers, tmp_path: Path, tiny_params: Callable[..., Params]
) -> None:  # fmt: skip
    (tmp_path / "worker-0.log").mkdir()
    with pytest.raises(IsADirectoryError, match=r"worker-0\.log"):
        local.LocalLauncher(tiny_params(), 2, [], tmp_path)
    assert not workers.started


@pytest.mark.parametrize(("overrides", "threads"), [({}, "1"), ({"grid.cpus": 2}, "2"), ({"grid.workers": 3}, "21")])
def test_threads_do_not_depend_on_the_number_of_jobs(
    overrides: dict[str, Any], threads: str, workers: Workers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    tiny_params: Callable[..., Params],
) -> None:  # fmt: skip
    monkeypatch.setattr(local, "count_cores", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    local.LocalLauncher(tiny_params({"grid.workers": None, **overrides}), 3, [], tmp_path)
    assert workers.started == [(None, threads)] * 3


def test_how_many_run_at_once_is_told_before_workers_start(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_params: Callable[..., Params]
) -> None:  # fmt: skip
    """On eight cores four scorings of two cores each run at once, and one pretraining; the launcher says the same."""
    monkeypatch.setattr(Machine, "here", lambda gpus: Machine(8, 64.0, gpus))
    params = tiny_params({"grid.workers": None, "grid.resources": {"pretrain": {"cpus": 8}, "score": {"cpus": 2}}})
    jobs = [Job("pretrain", encoder="unet", origin="simple"), *(Job("score", f"t{n}", "unet", "simple") for n in range(12))]
    kind = local.Local()
    assert kind.at_once(params, None, jobs, "cpu") == {"pretrain": 1, "score": 4} and not kind.is_single(params, None, jobs, "cpu")
    assert kind.is_single(params, None, jobs[:1], "cpu")
    launcher = local.LocalLauncher(params, 4, [], tmp_path)
    assert [launcher.at_once(job) for job in jobs[:2]] == [1, 4]


@pytest.mark.parametrize(
    ("overrides", "workers", "jobs", "accelerator", "threads"),
    [
        ({}, None, 5, "auto", ["2"]),
        ({}, 4, 5, "cpu", ["2"]),
        ({"grid.workers": 4}, 4, 5, "cpu", ["16"]),
        ({}, None, 1, "auto", []),  # this process does it itself
        ({}, 1, 5, "auto", []),
        ({}, None, 5, "cuda", []),  # there is a driver, and GPUs are counted first
        ({"grid.resources": {"score": {"cpus": 4}}}, None, 5, "auto", []),  # threads depend on the jobs
    ],
)
def test_the_fork_server_imports_while_the_caller_does(
    overrides: dict[str, Any], workers: int | None, jobs: int, accelerator: str, threads: list[str],
    monkeypatch: pytest.MonkeyPatch, tiny_params: Callable[..., Params],
) -> None:  # fmt: skip
    """It is started with the threads of the workers, which inherit its environment."""
    started = list[str | None]()
    monkeypatch.setattr(local.forkserver, "ensure_running", lambda: started.append(os.environ.get("OMP_NUM_THREADS")))
    monkeypatch.setattr(local, "count_cores", lambda: 64)
    monkeypatch.setattr(local, "has_driver", lambda: accelerator == "cuda")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    params = tiny_params({"grid.workers": None, "grid.cpus": 2, **overrides})
    local.Local().prepare(params, workers, jobs, accelerator)
    assert started == threads and "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("visible", "count", "names"),
    [
        (None, 2, ["0", "1"]),
        ("2, 0", 2, ["2", "0"]),
        ("", 0, []),
        ("-1", 0, []),
        ("0", 0, []),  # a machine without that GPU
        ("1,-1,0", 1, ["1"]),  # CUDA reads up to the first that is invalid
        ("NoDevFiles", 0, []),  # of Slurm, in a job without GPUs
    ],
)
def test_only_gpus_that_torch_sees_count(
    visible: str | None, count: int, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setattr(local, "has_driver", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.list_gpus() == names


def test_without_a_driver_torch_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "has_driver", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    assert local.list_gpus() == []


def test_a_worker_that_died_while_idle_is_replaced(workers: Workers, tmp_path: Path, tiny_params: Callable[..., Params]) -> None:
    launcher, job = local.LocalLauncher(tiny_params(), 1, [], tmp_path), Job("prepare", "sample")
    launcher.submit(job)
    assert workers.sent == [(2, job)] and not launcher.has_room(job)


@pytest.mark.slow
def test_a_stopped_grid_is_resumed(
    study: Callable[..., Params], command: Callable[..., Any], assert_each_once: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    study()
    first = command()
    first.wait_for_cells(1)
    first.process.send_signal(signal.SIGTERM)
    assert "medtransfer: stopped; what is finished is kept: run the same command again to resume" in first.end(143)
    assert tracking.read_runs("finetune", status="RUNNING") == []
    (stopped,) = tracking.read_runs("grid", status="KILLED")
    assert stopped.metrics["cells_done"] + stopped.metrics["cells_remaining"] == 8  # counted when it was stopped, too
    assert "8 cells done, 0 failed, 0 remaining" in command().end()
    assert_each_once()


@pytest.mark.parametrize("threads", [0, 1], ids=["one thread", "another thread"])  # which the signal may reach first
def test_an_interrupt_waits_for_the_start_of_a_worker_which_never_sees_it(threads: int) -> None:
    code = f"""
import os, signal, subprocess, sys, threading, time
from medtransfer.grid import local
for _ in range({threads}):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
blocked = "import signal; print('child', signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)"
try:
    with local.without_interrupts():
        subprocess.run([sys.executable, "-c", blocked])
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        print("reached", flush=True)
except KeyboardInterrupt:
    print("interrupted", signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.splitlines() == ["child True", "reached", "interrupted False"], child.stderr


SCRIPT = """
import os
from medtransfer.config.load import default_params
from medtransfer.grid.local import Local
if __name__ == "__main__":
    os.chdir("..")
    Local().prepare(default_params(), 2, 2, "cpu")
    print("started")
"""


def test_a_script_from_standard_input_is_refused_before_a_process_starts(tmp_path: Path) -> None:
    """Each process would import it, and fail."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped" / "__main__.py").write_text(SCRIPT)
    zipapp.create_archive(tmp_path / "zipped")
    ways = ["-"], ["script.py"], ["-m", "script"], ["-c", SCRIPT], ["zipped.pyz"]
    for words, refused in ((words, words == ["-"]) for words in ways):
        command = [sys.executable, *words]
        done = subprocess.run(command, input=SCRIPT, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
        assert (done.stdout == "started\n") != refused, done.stderr
        assert ("expected a script in a file, since the processes that share the work import it, but got <stdin>" in done.stderr) \
            == refused  # fmt: skip
