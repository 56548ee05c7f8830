"""Fine-tunings with a schedule of their own: each an ordinary cell that any launcher runs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer import study
from medtransfer.config import Params
from medtransfer.environment import require_device
from medtransfer.errors import StageError
from medtransfer.finetune.finished import find_finished
from medtransfer.grid.alone import Alone
from medtransfer.grid.launcher import Launcher
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.scheduling import start_workers, work
from medtransfer.grid.worker import Outcome
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.progress import Tally
from medtransfer.records import CellName

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Training:
    """A fine-tuning with values of its own in the section `finetune`.

    Attributes:
        cell: the cell.
        epochs: length of its schedule.
        values: further keys of `finetune` that differ from the params, and their values.
    """

    cell: CellName
    epochs: int
    values: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """Readable name."""
        return f"finetune {self.cell.name}, {self.epochs} epochs"

    @property
    def kind(self) -> str:
        """Return `finetune`, whose resources it takes."""
        return "finetune"

    @property
    def needs(self) -> frozenset["Training"]:
        """Nothing: fine-tunings do not depend on each other."""
        return frozenset()

    @property
    def folder(self) -> Path:
        """Folder of the result."""
        return self.cell.folder(Path(str(dict(self.values)["out"])))

    def devices(self, params: Params) -> int:
        """Return 1: a fine-tuning computes on one device."""
        return 1

    def needs_gpu(self, params: Params) -> bool:
        """Return whether a GPU is used where there is one."""
        return params.finetune.accelerator != "cpu"

    def own(self, params: Params) -> Params:
        """Return the params with the values of this fine-tuning; a shorter schedule has a shorter warm-up."""
        section = params.finetune
        warmup = section.warmup * self.epochs // section.train_epochs
        return study.with_values(params, "finetune", **dict(self.values), train_epochs=self.epochs, warmup=warmup)

    def run(self, params: Params) -> None:
        """Fine-tune, or reuse the finished result."""
        study.finetune(self.own(params), [self.cell])


class Progress:
    """Counts epochs, on a bar where there is a terminal, in sparse lines elsewhere.

    Attributes:
        counts: whether the fine-tunings that end are trained; tests of trained models have no epochs.
        tally: the epochs; their number changes, as more may stay in a rung than have a seat, and rungs may be skipped.
    """

    def __init__(self, stage: str, total: int) -> None:
        """Start; `total` is the number of epochs of the plan."""
        self.stage, self.counts, self.tally = stage, True, Tally(stage, total, "epochs")

    def finish(self, job: Training, outcome: Outcome) -> None:
        """Count the epochs of a fine-tuning that is done."""
        if outcome.status != "done":
            log.warning("%s: %s failed: %s", self.stage, job.name, outcome.reason)
        elif self.counts:
            self.tally.count(job.epochs)

    def reuse(self, jobs: Sequence[Training]) -> None:
        """Count the epochs of fine-tunings that were finished before, which say nothing about the pace."""
        if self.counts:
            self.tally.reuse(sum(job.epochs for job in jobs))

    def begin(self, first: Sequence[Training]) -> None:
        """Start the clock, since workers took a while to start; `first` are the fine-tunings that begin at once."""
        self.tally.restart(sum(job.epochs for job in first))

    def drop(self, job: Training) -> None:
        """Do nothing: no fine-tuning is dropped."""


class Tryouts:
    """The fine-tunings of a stage: finished ones are reused, and workers start with the first one that is not."""

    def __init__(
        self, params: Params, stage: str, kind: str, workers: int | None, jobs: Sequence[Training], logs: Path, epochs: int
    ) -> None:  # fmt: skip
        """Start no worker yet.

        Args:
            params: params of the fine-tunings.
            stage: its name, for the log.
            kind: name of the launcher.
            workers: local processes; None for as many as GPUs, or else cores, allow.
            jobs: as many as are run at once at most.
            logs: folder of the workers' log files.
            epochs: number of epochs of the plan.
        """
        self.params, self.stage, self.jobs = params, stage, jobs
        self.progress = Progress(stage, epochs)
        self._kind, self._workers, self._logs = kind, workers, logs
        self._launcher: Launcher | None = None

    def train(self, jobs: Sequence[Training], remedy: str) -> None:
        """Run fine-tunings, except those that are finished.

        Args:
            jobs: the fine-tunings.
            remedy: what to do about one that fails, for the message.

        Raises:
            InputError: the recipe, an encoder or this machine is not for them.
            StageError: some failed; the others are finished and kept.
        """
        done, failed = _finished(self.params, jobs), dict[Runnable, str]()
        if done:
            log.info("%s: %d of %d fine-tunings are finished; reused", self.stage, len(done), len(jobs))
            self.progress.reuse(done)
        if waiting := [job for job in jobs if job not in done]:
            if self._launcher is None:
                self._launcher = self._start()
                workers = 1 if isinstance(self._launcher, Alone) else self._launcher.workers
                self.progress.begin(waiting[:workers])
            work(waiting, self._launcher, self.params.grid.retries, self.progress, set(), failed)
        if failed:
            first, reason = next(iter(failed.items()))
            raise StageError(
                f"{len(failed)} of {len(jobs)} fine-tunings of the {self.stage} failed; the first, {first.name}: {reason}; what is "
                f"finished is kept: {remedy}, and run the same command again"
            )

    def close(self) -> None:
        """Stop the workers."""
        self.progress.tally.close()
        if self._launcher is not None:
            self._launcher.close()

    def _start(self) -> Launcher:
        """Start workers, or none where a single one would run all fine-tunings.

        Raises:
            InputError: the recipe does not fit the target, an encoder does not take its images, or the decoder does not fit it, or
                this machine lacks the device.
        """
        for own in dict.fromkeys((job.epochs, job.values) for job in self.jobs):
            alike = [job for job in self.jobs if (job.epochs, job.values) == own]
            study.check_cells(alike[0].own(self.params), [job.cell for job in alike])
        study.check_recorded_sizes(self.params, [job.cell for job in self.jobs])
        study.check_models(self.params, [job.cell for job in self.jobs], to_train=())
        if LAUNCHERS[self._kind].here:
            require_device(self.params.finetune.accelerator, self.params.finetune.precision)
        launcher = start_workers(self.params, self._kind, self._workers, self.jobs, self.params.finetune.accelerator, self._logs)
        if not isinstance(launcher, Alone):
            log.info("%s: %d %s workers", self.stage, launcher.workers, self._kind)
        return launcher


def _finished(params: Params, jobs: Sequence[Training]) -> list[Training]:
    """Return the fine-tunings that are finished, with one query of the store for all of the same values."""
    done = list[Training]()
    for values in dict.fromkeys((job.epochs, job.values) for job in jobs):
        group = [job for job in jobs if (job.epochs, job.values) == values]
        section, cells = group[0].own(params).finetune, [job.cell for job in group]
        finished = find_finished(section, cells, Path(params.pretrain.out), Path(params.prepare.out))
        done += [job for job in group if job.cell in finished]
    return done
