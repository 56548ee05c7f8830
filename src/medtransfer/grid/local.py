"""Run jobs in processes of this machine, which share its GPUs."""

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
from medtransfer.environment import count_cores, quiet_libraries
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.worker import RETRY, Outcome, attempt
from medtransfer.signals import stop_on_sigterm

log = logging.getLogger("medtransfer")
GPUS = "CUDA_VISIBLE_DEVICES"
SECONDS_TO_STOP = 20.0
# Importing these takes ten seconds, so the fork server does it once and workers are forked from it.
PRELOADED = ["mlflow", *(f"medtransfer.{name}" for name in (
    "grid.worker", "prepare.preview", "pretrain.training", "pretrain.objectives.classification", "score.scorer", "finetune.train",
))]  # fmt: skip


def list_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use; CUDA_VISIBLE_DEVICES may also name some that are not there."""
    import torch

    count = torch.cuda.device_count()
    names = os.environ[GPUS].split(",") if GPUS in os.environ else map(str, range(count))
    return [name.strip() for name in names][:count]


@dataclass
class _Worker:
    process: ForkServerProcess
    pipe: Connection
    job: Runnable | None = None


class LocalLauncher:
    """Worker processes that run one job each at a time; if one dies, it is replaced, and its job gets the outcome `retry`."""

    def __init__(self, params: Params, workers: int, gpus: list[str], logs: Path) -> None:
        """Start the processes.

        Args:
            params: params of the study.
            workers: number of processes.
            gpus: GPUs to distribute among the processes; empty for the CPU.
            logs: folder of the log files, one per process.
        """
        self.params, self.gpus, self.logs = params, gpus, logs
        logs.mkdir(parents=True, exist_ok=True)
        # As many as there is room for may be more than there are jobs: each has the same threads, and so the same bits.
        given = params.grid.cpus if params.grid.workers is None and not gpus else count_cores() / workers
        self.threads = max(1, int(given))
        self.workers = [self._start(number) for number in range(workers)]

    @property
    def free(self) -> int:
        """Number of processes without a job."""
        return sum(worker.job is None for worker in self.workers)

    def submit(self, job: Runnable) -> None:
        """Submit a job to a free process."""
        number = next(number for number, worker in enumerate(self.workers) if worker.job is None)
        try:
            self.workers[number].pipe.send(job)
        except OSError:  # it died while idle
            self.workers[number].process.join()
            self.workers[number] = self._start(number)
            self.workers[number].pipe.send(job)
        self.workers[number].job = job

    def outcomes(self) -> Iterator[tuple[Runnable, Outcome]]:
        """Wait until at least one job has ended; yield every ended job and its outcome, also for a process that died."""
        busy = {worker.pipe: number for number, worker in enumerate(self.workers) if worker.job is not None}
        for pipe in wait(list(busy)):
            assert isinstance(pipe, Connection)
            number = busy[pipe]
            worker = self.workers[number]
            job = worker.job
            assert job is not None
            try:
                outcome = pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                reason = f"its process ended with exit code {worker.process.exitcode}; see {self._log(number)}"
                outcome = Outcome(RETRY, reason, 0.0)
                self.workers[number] = self._start(number)
            worker.job = None
            yield job, outcome

    def close(self) -> None:
        """End the processes: send SIGTERM to those with a job, and kill those that do not end in time."""
        for worker in self.workers:
            worker.pipe.close()
            if worker.job is not None:
                worker.process.terminate()
        for worker in self.workers:
            worker.process.join(SECONDS_TO_STOP)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"

    def _start(self, number: int) -> _Worker:
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        ours, theirs = context.Pipe()
        taken = max(1, math.ceil(self.params.grid.gpus))
        gpus = [self.gpus[(number * taken + index) % len(self.gpus)] for index in range(taken)] if self.gpus else []
        arguments = (theirs, self.params, self._log(number), ",".join(dict.fromkeys(gpus)) or None)
        process = context.Process(target=serve, args=arguments, daemon=False)
        with _threads(self.threads):
            process.start()
        theirs.close()  # else the pipe would stay open when the process ends
        return _Worker(process, ours)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Set the number of threads of processes started in the block, unless the user has set it."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(number)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def serve(pipe: Connection, params: Params, log_file: Path, gpus: str | None) -> None:
    """Run jobs until the pipe closes; main function of a worker process."""
    if gpus is not None:
        os.environ[GPUS] = gpus  # before CUDA is initialised
    with log_file.open("a", encoding="utf-8", buffering=1) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    quiet_libraries()
    stop_on_sigterm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the launcher stops its workers
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):  # the launcher has ended or closed the pipe
            return
        outcome = attempt(params, job)
        try:
            pipe.send(outcome)
        except OSError:
            return
