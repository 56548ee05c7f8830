"""Jobs go in; processes of this machine do them, GPUs in turn, and their outcomes come out, whatever process dies."""

import logging
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from medtransfer.config import Params
from medtransfer.environment import quiet_libraries
from medtransfer.grid.jobs import Job
from medtransfer.grid.worker import AGAIN, Outcome, attempt
from medtransfer.signals import stop_on_sigterm

log = logging.getLogger("medtransfer")
GPUS = "CUDA_VISIBLE_DEVICES"
SECONDS_TO_STOP = 20.0
# What every process needs takes ten seconds to import: a server process does it once, and the others start as copies of it.
IMPORTED_ONCE = [
    f"medtransfer.{name}" for name in ("grid.worker", "prepare.stage", "pretrain.stage", "score.stage", "finetune.stage")
]


def count_gpus() -> list[str]:
    """Give the names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    if GPUS in os.environ:
        return [name for name in os.environ[GPUS].split(",") if name.strip() not in {"", "-1"}]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@dataclass
class _Worker:
    process: ForkServerProcess
    pipe: Connection
    job: Job | None = None


class LocalLauncher:
    """Processes that each do one job after the other; one that dies is replaced, and its job comes back as to do again."""

    def __init__(self, params: Params, workers: int, gpus: list[str], logs: Path) -> None:
        """Start the processes.

        Args:
            params: of the study.
            workers: processes.
            gpus: that they take in turn; none for the CPU.
            logs: folder of a log file a process.
        """
        self.params, self.gpus, self.logs = params, gpus, logs
        logs.mkdir(parents=True, exist_ok=True)
        self.threads = max(1, (os.cpu_count() or 1) // workers)
        self.workers = [self._start(number) for number in range(workers)]

    @property
    def free(self) -> int:
        """Count the processes without a job."""
        return sum(one.job is None for one in self.workers)

    def submit(self, job: Job) -> None:
        """Give a job to a free process."""
        number = next(number for number, one in enumerate(self.workers) if one.job is None)
        try:
            self.workers[number].pipe.send(job)
        except OSError:  # it has died while it had nothing to do
            self.workers[number].process.join()
            self.workers[number] = self._start(number)
            self.workers[number].pipe.send(job)
        self.workers[number].job = job

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Wait until at least one job has ended and give what ended; a process that dies takes no job with it."""
        busy = {one.pipe: number for number, one in enumerate(self.workers) if one.job is not None}
        for pipe in wait(list(busy)):
            assert isinstance(pipe, Connection)
            number = busy[pipe]
            one = self.workers[number]
            job = one.job
            assert job is not None
            try:
                outcome = pipe.recv()
            except (EOFError, OSError):
                one.process.join()
                outcome = Outcome(AGAIN, f"its process ended with exit code {one.process.exitcode}; see {self._log(number)}", 0.0)
                self.workers[number] = self._start(number)
            one.job = None
            yield job, outcome

    def close(self) -> None:
        """Let the processes end: those at work are asked to stop, as by SIGTERM, then killed."""
        for one in self.workers:
            one.pipe.close()
            if one.job is not None:
                one.process.terminate()
        for one in self.workers:
            one.process.join(SECONDS_TO_STOP)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"

    def _start(self, number: int) -> _Worker:
        context = get_context("forkserver")
        context.set_forkserver_preload(IMPORTED_ONCE)
        ours, theirs = context.Pipe()
        taken = max(1, math.ceil(self.params.grid.gpus))
        gpus = [self.gpus[(number * taken + place) % len(self.gpus)] for place in range(taken)] if self.gpus else []
        arguments = (theirs, self.params, self._log(number), ",".join(dict.fromkeys(gpus)) or None)
        process = context.Process(target=serve, args=arguments, daemon=False)
        with _threads(self.threads):
            process.start()
        theirs.close()  # so that the pipe ends with the process
        return _Worker(process, ours)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Choose the threads of what is started meanwhile, unless the user has chosen them."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(number)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def serve(pipe: Connection, params: Params, log_file: Path, gpus: str | None) -> None:
    """Do jobs until the pipe closes: the whole life of a process."""
    if gpus is not None:
        os.environ[GPUS] = gpus  # no GPU has been touched yet
    with log_file.open("a", encoding="utf-8", buffering=1) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    quiet_libraries()
    stop_on_sigterm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the launcher tells its processes
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):  # the launcher is gone or has nothing more to do
            return
        outcome = attempt(params, job)
        try:
            pipe.send(outcome)
        except OSError:
            return
