"""Run jobs on Slurm: job arrays, each after those that it needs, that run on when this process ends.

All hosts need the working folder under the same path (a shared file system) and access to the same tracking store. This process
follows the jobs through files: a task that has ended leaves the outcome of each of its jobs, and one that is gone from the queue
without an outcome has died. The same command finds the jobs of an earlier one that are still in the queue, and follows those.
Only jobs of the same params and tracking store are followed.
"""

import json
import logging
import math
import pickle
import shutil
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtransfer.config import Params
from medtransfer.config.loaded_files import repeated_options
from medtransfer.errors import InputError
from medtransfer.grid.launcher import Launcher, LauncherKind
from medtransfer.grid.resources import ROUNDING, Share, share_of
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.same_results import give_same_results
from medtransfer.grid.slurm_queue import queued, submit_array
from medtransfer.grid.slurm_script import Batch, script
from medtransfer.grid.store_settings import write_store, written_store
from medtransfer.grid.worker import BACK, FAILED, RETRY, Outcome
from medtransfer.records.atomic import write_text
from medtransfer.tracking import require_shared_store, store_uri

log = logging.getLogger("medtransfer")
AT_MOST = 1000  # tasks of an array; Slurm's MaxArraySize is 1001 unless the cluster says otherwise
SECONDS_BETWEEN_LOOKS, SECONDS_TO_APPEAR = 2.0, 30.0  # outcomes on a shared file system may come later than the queue says
QUEUE = "queue.json"  # job ids by folder of a batch, of every batch that was submitted
FOLDER = "slurm"


class Slurm(LauncherKind):
    """Job arrays of Slurm."""

    queues = True

    def start(self, params: Params, workers: int | None, jobs: Sequence[Runnable], accelerator: str, logs: Path) -> Launcher:
        """Check that Slurm and the store can be used, and find what is still in the queue; see `LauncherKind`.

        Raises:
            InputError: there is no sbatch, or the store is an SQLite file on a network file system.
        """
        if shutil.which("sbatch") is None or shutil.which("squeue") is None:
            raise InputError(
                "expected Slurm's commands sbatch and squeue for the launcher slurm, but they are not on the PATH; run the command "
                f"on a login node, or write the scripts with `medtransfer grid --plan{repeated_options()}`"
            )
        require_shared_store("slurm")
        return SlurmLauncher(params, jobs, logs / FOLDER)

    def write_scripts(self, params: Params, jobs: Sequence[Runnable], folder: Path) -> list[Path]:
        """Write the scripts of the arrays; the first lines of each say what it waits for; see `LauncherKind`."""
        return [
            write_batch(params, batch, _new_folder(folder / FOLDER / "plan", batch.kind))
            for batch in group(params, jobs, params.pretrain.stop_on is None)
        ]


@dataclass(frozen=True)
class Task:
    """Where a submitted job runs.

    Attributes:
        job: id of its array.
        index: its task of the array.
        folder: folder of the batch.
        number: its number in the batch, which its outcome is stored under.
    """

    job: str
    index: int
    folder: Path
    number: int

    @property
    def id(self) -> str:
        """Id as Slurm writes it."""
        return f"{self.job}_{self.index}"

    @property
    def outcome(self) -> Path:
        """File of the outcome."""
        return self.folder / f"outcome-{self.number}.json"

    @property
    def begun(self) -> Path:
        """File that a task makes when it starts."""
        return self.folder / f"begun-{self.index}"


class SlurmLauncher:
    """Hands jobs to Slurm as arrays; it takes jobs before those that they need are done, and Slurm starts them after these."""

    def __init__(self, params: Params, jobs: Sequence[Runnable], folder: Path) -> None:
        """Find the tasks that an earlier process submitted.

        Args:
            params: params of all jobs.
            jobs: all jobs that will be submitted.
            folder: folder of scripts, jobs, outcomes and log files.

        Raises:
            InputError: tasks of other params or for another store are still in the queue, and would write the same results.
            TemporaryError: Slurm's queue cannot be read.
        """
        self.params, self.folder, self.jobs = params, folder, list(jobs)
        self.known = set(jobs)
        self.orders = params.pretrain.stop_on is None  # else which jobs there are is known after the pretraining
        self.collected: list[Runnable] = []
        self.tasks: dict[Runnable, Task] = {}
        self.gone: dict[Runnable, float] = {}
        self._find_earlier()

    @property
    def workers(self) -> int:
        """Tasks that run at once at most, as far as `grid.slurm` limits them."""
        return min(self.params.grid.slurm.at_once or len(self.jobs), len(self.jobs))

    def at_once(self, job: Runnable) -> float:
        """Return the jobs of all tasks that may run at once; infinity where `grid.slurm.at_once` sets no limit."""
        if self.params.grid.slurm.at_once is None:
            return math.inf
        return float(self.workers * beside(share_of(self.params, job, True)))

    def has_room(self, job: Runnable) -> bool:
        """Return True: the queue has."""
        return True

    def submit(self, job: Runnable) -> None:
        """Collect a job, which is submitted together with the others when outcomes are asked for."""
        if job not in self.tasks:
            self.collected.append(job)

    def outcomes(self) -> Iterator[tuple[Runnable, Outcome]]:
        """Submit what was collected, and wait until at least one job has ended."""
        self._submit()
        while True:
            ended = list(self._ended())
            if ended:
                yield from ended
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def close(self) -> None:
        """Leave the jobs in the queue."""
        if self.tasks:
            log.info(
                "grid: %d jobs stay in Slurm's queue: the same command follows them; `scancel %s` ends them", len(self.tasks),
                " ".join(sorted({task.job for task in self.tasks.values()}, key=int)),
            )  # fmt: skip

    def _submit(self) -> None:
        batches = group(self.params, self.collected, self.orders)
        for batch in batches:
            folder = _new_folder(self.folder, batch.kind)
            needed = sorted({self.tasks[need].id for need in batch.needs if need in self.tasks})
            write_batch(self.params, batch, folder)
            identity = submit_array(folder / "script.sh", needed)
            for number, job in enumerate(batch.jobs):
                self.tasks[job] = Task(identity, number // batch.per_task, folder, number)
            self._remember(folder, identity)
            after = f" after {', '.join(needed)}" if needed else ""
            log.info("grid: job array %s: %d x %s in %d tasks%s", identity, len(batch.jobs), batch.kind, batch.tasks, after)
        self.collected = []

    def _ended(self) -> Iterator[tuple[Runnable, Outcome]]:
        """Yield the jobs that have ended: by their outcome, or gone from the queue without one."""
        in_queue = queued({task.job for task in self.tasks.values()})
        for job, task in list(self.tasks.items()):
            if task.outcome.exists():
                outcome = Outcome(**json.loads(task.outcome.read_text(encoding="utf-8")))
            elif task.id in in_queue:
                self.gone.pop(job, None)
                continue
            elif time.monotonic() - self.gone.setdefault(job, time.monotonic()) < SECONDS_TO_APPEAR:
                continue
            elif task.begun.exists():
                log_file = task.folder / f"task-{task.index}.log"
                outcome = Outcome(RETRY, f"its Slurm task {task.id} ended without a result; see {log_file}", 0.0)
            else:  # Slurm has dropped it, since a job that it needs failed, or somebody has cancelled it
                status = BACK if any(need in self.known for need in job.needs) else FAILED
                outcome = Outcome(status, f"its Slurm task {task.id} left the queue before it started", 0.0)
            del self.tasks[job]
            self.gone.pop(job, None)
            yield job, outcome

    def _remember(self, folder: Path, identity: str) -> None:
        path = self.folder / QUEUE
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_text(path, json.dumps({**known, folder.name: identity}, indent=1))

    def _find_earlier(self) -> None:
        """Follow the tasks of earlier processes that are still in the queue, and forget the others."""
        path = self.folder / QUEUE
        if not path.exists():
            return
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        in_queue, alive, foreign = queued(set(known.values())), dict[str, str](), set[str]()
        for name, identity in known.items():
            if not any(each.partition("_")[0] == identity for each in in_queue):
                continue
            alive[name] = identity
            batch = read_batch(self.folder / name)
            if batch is None:
                continue
            same = self._is_same(batch[0], self.folder / name, batch[1][0].kind)
            for number, job in enumerate(batch[1]):
                task = Task(identity, number // batch[2], self.folder / name, number)
                if job not in self.known or task.id not in in_queue or task.outcome.exists():
                    continue
                if same:
                    self.tasks[job] = task
                elif _out(batch[0], job) == _out(self.params, job):
                    foreign.add(identity)
        write_text(path, json.dumps(alive, indent=1))
        if foreign:
            jobs = " ".join(sorted(foreign, key=int))
            raise InputError(
                f"expected no other command to work on the same results, but the arrays {jobs} of other params or for another "
                f"tracking store are in Slurm's queue and would write them; end them by `scancel {jobs}`, or wait for them"
            )
        if self.tasks:
            log.info("grid: %d jobs of an earlier command are in Slurm's queue, and are followed", len(self.tasks))

    def _is_same(self, params: Params, folder: Path, kind: str) -> bool:
        """Return whether the jobs of a batch give the results that those of these params would, in the same store."""
        return give_same_results(self.params, params, self.folder, kind) and written_store(folder) == store_uri()


def _out(params: Params, job: Runnable) -> str:
    """Return the folder of the results of jobs of a kind."""
    return str(getattr(params, job.kind).out)


def beside(share: Share) -> int:
    """Return how many jobs of a share one task runs beside each other: those that share a GPU."""
    return math.floor(1 / share.gpus + ROUNDING) if 0 < share.gpus < 1 else 1


def group(params: Params, jobs: Sequence[Runnable], orders: bool) -> list[Batch]:
    """Group jobs into arrays: those of one kind that take the same and need the same, at most `AT_MOST` tasks each."""
    submitted, groups = set(jobs), defaultdict[tuple[str, Share, frozenset[Runnable]], list[Runnable]](list)
    for job in jobs:
        needs = frozenset(job.needs) if orders else frozenset()
        groups[job.kind, share_of(params, job, True), needs].append(job)
    batches = []
    for (kind, share, needs), some in groups.items():
        at_once = beside(share)
        per_task = at_once * params.grid.slurm.per_task
        for begin in range(0, len(some), AT_MOST * per_task):
            batches.append(Batch(kind, share, tuple(some[begin : begin + AT_MOST * per_task]), needs, at_once, per_task))
    return _in_order(batches, submitted)


def _in_order(batches: Sequence[Batch], submitted: Collection[Runnable]) -> list[Batch]:
    """Order arrays so that each comes after those that it needs, whose ids it names."""
    ordered, done, left = list[Batch](), set[Runnable](), list(batches)
    while left:
        ready = [batch for batch in left if not (batch.needs & set(submitted)) - done]
        assert ready, "jobs need each other in a circle"
        ordered += ready
        done.update(job for batch in ready for job in batch.jobs)
        left = [batch for batch in left if batch not in ready]
    return ordered


def write_batch(params: Params, batch: Batch, folder: Path) -> Path:
    """Write params, jobs, address of the store and script of an array to its folder; return the script."""
    with (folder / "jobs.pickle").open("wb") as file:
        pickle.dump((params, batch.jobs, batch.per_task, batch.beside), file)
    path = folder / "script.sh"
    write_store(folder)
    write_text(path, script(params, batch, folder.absolute()))
    return path


def read_batch(folder: Path) -> tuple[Params, Sequence[Runnable], int, int] | None:
    """Read the params and jobs of an array, the jobs per task, and how many of them run at once; None if they are gone."""
    try:
        with (folder / "jobs.pickle").open("rb") as file:
            batch: tuple[Params, Sequence[Runnable], int, int] = pickle.load(file)
    except (OSError, pickle.UnpicklingError, AttributeError, ImportError):
        return None
    return batch


def _new_folder(parent: Path, kind: str) -> Path:
    """Make a folder of the next free number."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.name.split("-")[0]) for path in parent.glob("[0-9]*-*")), default=0)
    folder = parent / f"{number:03d}-{kind}"
    folder.mkdir()
    return folder
