"""Run jobs in processes of this machine, which share its GPUs."""

import logging
import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing import process as this_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from medtransfer.config import Params
from medtransfer.environment import count_cores, has_driver, quiet_libraries
from medtransfer.errors import InputError
from medtransfer.grid.launcher import Launcher, LauncherKind
from medtransfer.grid.resources import Machine, Share, are_counted, share_of
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.worker import RETRY, Outcome, attempt
from medtransfer.signals import stop_on_sigterm, stop_though_ignored, stops_later

log = logging.getLogger("medtransfer")
GPUS = "CUDA_VISIBLE_DEVICES"
SECONDS_TO_STOP = 20.0
PRELOADED = ["medtransfer.grid.preload"]  # by the fork server, from which workers are forked


def list_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use; CUDA_VISIBLE_DEVICES may also name some that are not there."""
    if not has_driver():
        return []
    import torch

    count = torch.cuda.device_count()
    names = os.environ[GPUS].split(",") if GPUS in os.environ else map(str, range(count))
    return [name.strip() for name in names][:count]


def usable_gpus(accelerator: str) -> list[str]:
    """Return the names of the GPUs that local workers share."""
    return [] if accelerator == "cpu" else list_gpus()


def count_workers(params: Params, workers: int | None, jobs: Sequence[Runnable], gpus: Sequence[str]) -> int:
    """Count the local workers: those asked for, or as many as GPUs, or else cores, allow, but not more than there are jobs."""
    if not are_counted(params):
        return _count_uniform(params, workers, len(jobs), gpus)
    machine = Machine.here(gpus)
    fitting = max((machine.at_once(share) for share in {share_of(params, job, bool(gpus)) for job in jobs}), default=1)
    return min(workers or fitting, fitting, len(jobs))


def _count_uniform(params: Params, workers: int | None, jobs: int, gpus: Sequence[str]) -> int:
    """Count the local workers where every job takes the same."""
    room = len(gpus) / params.grid.gpus if gpus and params.grid.gpus else count_cores() / params.grid.cpus
    return workers or min(max(1, int(room)), jobs)


def _count_threads(params: Params, workers: int, gpus: Sequence[str]) -> int:
    # As many workers as there is room for may be more than there are jobs: each has the same threads, and so the same bits.
    given = params.grid.cpus if params.grid.workers is None and not gpus else count_cores() / workers
    return max(1, int(given))


class Local(LauncherKind):
    """Processes of this machine."""

    here = True

    def prepare(self, params: Params, workers: int | None, count: int, accelerator: str) -> None:
        """Start the fork server, which imports for seconds, unless GPUs must be counted first; see `LauncherKind`."""
        if are_counted(params) or (accelerator != "cpu" and has_driver()):
            return
        if (started := _count_uniform(params, workers, count, [])) > 1:
            _require_script()
            with _to_be_inherited(_count_threads(params, started, [])):
                _context()
                forkserver.ensure_running()

    def start(self, params: Params, workers: int | None, jobs: Sequence[Runnable], accelerator: str, logs: Path) -> Launcher:
        """Start worker processes; see `LauncherKind`."""
        _require_script()
        gpus = usable_gpus(accelerator)
        _check(params, jobs, gpus)
        return LocalLauncher(params, count_workers(params, workers, jobs, gpus), gpus, logs)

    def check(self, params: Params, jobs: Sequence[Runnable], accelerator: str) -> None:
        """Refuse jobs that take more than this machine has, where that is counted; see `LauncherKind`."""
        if are_counted(params):
            _check(params, jobs, usable_gpus(accelerator))

    def at_once(self, params: Params, workers: int | None, jobs: Sequence[Runnable], accelerator: str) -> dict[str, float]:
        """Return how many jobs of each kind would run at once; see `LauncherKind`."""
        gpus = usable_gpus(accelerator)
        most, machine = count_workers(params, workers, jobs, gpus), _counted_machine(params, gpus)
        counts = dict[str, float]()
        for job in jobs:
            counts[job.kind] = max(counts.get(job.kind, 0.0), _at_once(params, most, machine, job))
        return counts


def _require_script() -> None:
    """Refuse a script that no process can import, as each does with the caller's: one from standard input, or that is gone.

    Raises:
        InputError: the script is not in a file.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None) if getattr(main, "__spec__", None) is None else None  # it has one under `python -m`
    if path is not None and not Path(getattr(this_process, "ORIGINAL_DIR", None) or "", path).is_file():
        raise InputError(
            f"expected a script in a file, since the processes that share the work import it, but got {path}, which is none; save "
            "the script as a file and run that, or set workers to 1, which needs no such process"
        )


def _check(params: Params, jobs: Sequence[Runnable], gpus: Sequence[str]) -> None:
    if machine := _counted_machine(params, gpus):
        machine.check(params, jobs)


def _counted_machine(params: Params, gpus: Sequence[str]) -> Machine | None:
    """Return this machine; None where the resources of jobs are not counted."""
    return Machine.here(gpus) if are_counted(params) else None


def _at_once(params: Params, workers: int, machine: Machine | None, job: Runnable) -> float:
    """Return how many such jobs run at once on local workers."""
    return workers if machine is None else min(workers, machine.at_once(share_of(params, job, bool(machine.gpus))))


@dataclass
class _Worker:
    process: ForkServerProcess
    pipe: Connection
    gpus: tuple[str, ...]
    threads: int
    job: Runnable | None = None


class LocalLauncher:
    """Worker processes that run one job each at a time; if one dies, it is replaced, and its job gets the outcome `retry`.

    Where the resources of jobs are counted, a worker whose GPUs or threads are not those of its next job is replaced, too.
    """

    orders = False

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
        self.threads = _count_threads(params, workers, gpus)
        self.machine = _counted_machine(params, gpus)
        self.running: dict[Runnable, tuple[Share, tuple[str, ...]]] = {}
        self.processes = [self._start(number, *self._usual(number)) for number in range(workers)]

    @property
    def workers(self) -> int:
        """Number of processes."""
        return len(self.processes)

    def at_once(self, job: Runnable) -> float:
        """Return how many such jobs run at once."""
        return _at_once(self.params, self.workers, self.machine, job)

    def has_room(self, job: Runnable) -> bool:
        """Return whether a process is free and, where they are counted, the resources of a job are."""
        if all(worker.job is not None for worker in self.processes):
            return False
        return self.machine is None or self.machine.place(share_of(self.params, job, bool(self.gpus))) is not None

    def submit(self, job: Runnable) -> None:
        """Submit a job to a free process, preferably one with its GPUs and threads."""
        idle = [number for number, worker in enumerate(self.processes) if worker.job is None]
        number, gpus, threads = idle[0], self.processes[idle[0]].gpus, self.processes[idle[0]].threads
        if self.machine is not None:
            share = share_of(self.params, job, bool(self.gpus))
            gpus, threads = self.machine.place(share) or (), max(1, int(share.cpus))
            self.running[job] = share, gpus
            self.machine.taken.append(self.running[job])
            fitting = [each for each in idle if self._has(each, gpus, threads)]
            number = fitting[0] if fitting else idle[0]
            if not fitting:
                self.processes[number].pipe.close()
                self.processes[number].process.join()
                self.processes[number] = self._start(number, gpus, threads)
        try:
            self.processes[number].pipe.send(job)
        except OSError:  # it died while idle
            self.processes[number].process.join()
            self.processes[number] = self._start(number, gpus, threads)
            self.processes[number].pipe.send(job)
        self.processes[number].job = job

    def _has(self, number: int, gpus: tuple[str, ...], threads: int) -> bool:
        return (self.processes[number].gpus, self.processes[number].threads) == (gpus, threads)

    def outcomes(self) -> Iterator[tuple[Runnable, Outcome]]:
        """Wait until at least one job has ended; yield every ended job and its outcome, also for a process that died."""
        busy = {worker.pipe: number for number, worker in enumerate(self.processes) if worker.job is not None}
        for pipe in wait(list(busy)):
            assert isinstance(pipe, Connection)
            number = busy[pipe]
            worker = self.processes[number]
            job = worker.job
            assert job is not None
            try:
                outcome = pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                reason = f"its process ended with exit code {worker.process.exitcode}; see {self._log(number)}"
                outcome = Outcome(RETRY, reason, 0.0)
                self.processes[number] = self._start(number, worker.gpus, worker.threads)
            worker.job = None
            if self.machine is not None:
                self.machine.taken.remove(self.running.pop(job))
            yield job, outcome

    def close(self) -> None:
        """End the processes: send SIGTERM to those with a job, and kill those that do not end in time."""
        for worker in self.processes:
            worker.pipe.close()
            if worker.job is not None:
                worker.process.terminate()
        for worker in self.processes:
            worker.process.join(SECONDS_TO_STOP)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"

    def _usual(self, number: int) -> tuple[tuple[str, ...], int]:
        """Return the GPUs, taken in turn, and the threads of a process where resources are not counted."""
        taken = max(1, math.ceil(self.params.grid.gpus))
        gpus = [self.gpus[(number * taken + index) % len(self.gpus)] for index in range(taken)] if self.gpus else []
        return tuple(dict.fromkeys(gpus)), self.threads

    def _start(self, number: int, gpus: tuple[str, ...], threads: int) -> _Worker:
        self._log(number).open("a").close()  # a file that may not be written is an error here rather than in the process
        context = _context()
        ours, theirs = context.Pipe()
        names = (
            ",".join(gpus) if gpus or (self.gpus and self.machine is not None) else None
        )  # "": a job that takes no GPU sees none
        arguments = (theirs, self.params, self._log(number), names)
        process = context.Process(target=serve, args=arguments, daemon=False)
        with _to_be_inherited(threads):
            process.start()
        theirs.close()  # else the pipe would stay open when the process ends
        return _Worker(process, ours, gpus, threads)


def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def _to_be_inherited(threads: int) -> Iterator[None]:
    """Set what processes that are started in the block inherit: the number of threads, and that Ctrl-C does not reach them."""
    with _threads(threads), without_interrupts():
        yield


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


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C until the end of the block (see `stops_later`), and for good from processes that are started in it.

    It reaches the whole process group, where they would answer with tracebacks while they import; the launcher stops them.
    """
    resource_tracker.ensure_running()  # whose start would let Ctrl-C through again
    with stops_later():  # another thread, which does not block the signal, may receive it for this one
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(pipe: Connection, params: Params, log_file: Path, gpus: str | None) -> None:
    """Run jobs until the pipe closes; main function of a worker process."""
    if gpus is not None:
        os.environ[GPUS] = gpus  # before CUDA is initialised
    with log_file.open("a", encoding="utf-8", buffering=1) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    quiet_libraries()
    stop_on_sigterm()
    stop_though_ignored()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
