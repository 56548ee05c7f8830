"""Fine-tunings of a race: each an ordinary cell that any launcher runs, and its scores by patient."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer import study
from medtransfer.analysis.patients import counts_by_patient
from medtransfer.config import Params
from medtransfer.errors import InputError, StageError
from medtransfer.grid.runnable import Runnable
from medtransfer.grid.scheduling import Launcher, work
from medtransfer.grid.worker import Outcome
from medtransfer.metrics.counts import OVERLAP, Counts
from medtransfer.race.contest import Scores
from medtransfer.records import PER_SAMPLE, CellName
from medtransfer.tasks.results import read_result

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
        values = {**dict(self.values), "train_epochs": self.epochs}
        study.finetune(study.with_values(params, "finetune", **values), [self.cell])


class Progress:
    """Counts epochs, on a bar where there is a terminal."""

    def __init__(self, total: int) -> None:
        """Start; `total` is the number of epochs of the plan."""
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc="race", unit="epoch", dynamic_ncols=True, disable=None)

    def finish(self, job: Training, outcome: Outcome) -> None:
        """Count the epochs of a fine-tuning that is done."""
        if outcome.status == "done":
            self._bar.update(job.epochs)
        else:
            log.warning("race: %s failed: %s", job.name, outcome.reason)

    def drop(self, job: Training) -> None:
        """Do nothing: no fine-tuning is dropped."""

    def expect(self, total: int) -> None:
        """Change the number of epochs: more may stay in a rung than have a seat, and rungs may be skipped."""
        self._bar.total = total
        self._bar.refresh()

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()


def train(jobs: Sequence[Training], launcher: Launcher, retries: int, progress: Progress) -> None:
    """Run fine-tunings.

    Raises:
        StageError: some failed; the others are finished and kept.
    """
    failed = dict[Runnable, str]()
    work(jobs, launcher, retries, progress, set(), failed)
    if failed:
        first, reason = next(iter(failed.items()))
        raise StageError(
            f"{len(failed)} of {len(jobs)} fine-tunings of the race failed; the first, {first.name}: {reason}; what is finished is "
            "kept: correct this, or leave the candidate out with --candidates, and run the same command again"
        )


def read_scores(by_entrant: Sequence[Sequence[Path]]) -> Scores:
    """Read the scores of fine-tuned models, each the mean over its seeds.

    Args:
        by_entrant: the folders of each entrant, one per seed.

    Raises:
        InputError: a file is damaged, or the results are of different patients.
    """
    read = [[_read(folder) for folder in folders] for folders in by_entrant]
    patients = [names for seeds in read for _, _, names in seeds]
    if any(names != patients[0] for names in patients):
        raise InputError(
            f"expected the same validation patients in all fine-tunings of a rung, but they differ in {by_entrant[0][0].parent}; "
            "remove the folder of the race and run it again"
        )
    values = np.array([[value for value, _, _ in seeds] for seeds in read]).mean(axis=1)  # (C,)
    without = np.array([[rest for _, rest, _ in seeds] for seeds in read]).mean(axis=1)  # (C, P)
    return Scores(values, without.reshape(len(values), -1))


def _read(folder: Path) -> tuple[float, list[float], tuple[str, ...]]:
    """Return the primary metric of a model, the metric without each patient, and the patients."""
    result = read_result(folder / "metrics.json")
    formula, value = OVERLAP.get(result.primary), result.metrics[result.primary]
    if formula is None:
        return value, [], ()
    patients = counts_by_patient(folder / PER_SAMPLE)
    if len(patients) < 2:
        return value, [], tuple(patients)
    counts = np.stack(list(patients.values()))  # (P, 4, classes)
    rest = counts.sum(axis=0) - counts  # (P, 4, classes)
    return value, formula(Counts(*np.moveaxis(rest, 1, 0))).mean(axis=-1).tolist(), tuple(patients)
