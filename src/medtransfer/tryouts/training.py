"""Fine-tunings with a schedule of their own: each an ordinary cell that any launcher runs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer import study
from medtransfer.config import Params
from medtransfer.errors import StageError
from medtransfer.grid.alone import Alone
from medtransfer.grid.launcher import Launcher
from medtransfer.grid.local import count_workers, usable_gpus
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.scheduling import launch, work
from medtransfer.grid.worker import Outcome
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

    def run(self, params: Params) -> None:
        """Fine-tune, or reuse the finished result."""
        section = params.finetune
        warmup = section.warmup * self.epochs // section.train_epochs  # a shorter schedule has a shorter warm-up
        values = {**dict(self.values), "train_epochs": self.epochs, "warmup": warmup}
        study.finetune(study.with_values(params, "finetune", **values), [self.cell])


class Progress:
    """Counts epochs, on a bar where there is a terminal."""

    def __init__(self, stage: str, total: int) -> None:
        """Start; `total` is the number of epochs of the plan."""
        from tqdm import tqdm

        self.stage = stage
        self._bar = tqdm(total=total, desc=stage, unit="epoch", dynamic_ncols=True, disable=None)

    def finish(self, job: Training, outcome: Outcome) -> None:
        """Count the epochs of a fine-tuning that is done."""
        if outcome.status == "done":
            self._bar.update(job.epochs)
        else:
            log.warning("%s: %s failed: %s", self.stage, job.name, outcome.reason)

    def drop(self, job: Training) -> None:
        """Do nothing: no fine-tuning is dropped."""

    def expect(self, total: int) -> None:
        """Change the number of epochs: more may stay in a rung than have a seat, and rungs may be skipped."""
        self._bar.total = total
        self._bar.refresh()

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()


def start(params: Params, stage: str, kind: str, workers: int | None, jobs: Sequence[Training], logs: Path) -> Launcher:
    """Start workers, or none where a single one would run all fine-tunings.

    Args:
        params: params of the fine-tunings.
        stage: its name, for the log.
        kind: name of the launcher.
        workers: local processes; None for as many as GPUs, or else cores, allow.
        jobs: as many as are run at once at most.
        logs: folder of the workers' log files.
    """
    accelerator = params.finetune.accelerator
    if kind == "local" and count_workers(params, workers, jobs, usable_gpus(accelerator)) == 1:
        return Alone(params)
    launcher = launch(params, kind, workers, jobs, accelerator, logs)
    log.info("%s: %d %s workers", stage, launcher.workers, kind)
    return launcher


def train(jobs: Sequence[Training], launcher: Launcher, retries: int, progress: Progress, remedy: str) -> None:
    """Run fine-tunings.

    Args:
        jobs: the fine-tunings.
        launcher: runs them.
        retries: more attempts for one whose process or host died.
        progress: counts their epochs.
        remedy: what to do about one that fails, for the message.

    Raises:
        StageError: some failed; the others are finished and kept.
    """
    failed = dict[Runnable, str]()
    work(jobs, launcher, retries, progress, set(), failed)
    if failed:
        first, reason = next(iter(failed.items()))
        raise StageError(
            f"{len(failed)} of {len(jobs)} fine-tunings of the {progress.stage} failed; the first, {first.name}: {reason}; what is "
            f"finished is kept: {remedy}, and run the same command again"
        )
