"""Scores of fine-tuned models on validation patients, with the scores without each patient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medtransfer.analysis.patients import AT_ONCE, ByPatient, by_patient, has_patients
from medtransfer.errors import InputError
from medtransfer.metrics.jackknife import pseudo_values
from medtransfer.records import PER_SAMPLE
from medtransfer.tasks import TASKS
from medtransfer.tasks.results import read_result

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Validation scores of fine-tuned models, higher is better.

    Attributes:
        values: (C,) or (C, S) with S seeds, the metric over all patients.
        without: (C, P) or (C, S, P), the metric without each of P patients; P = 0 if there is one patient, or no counts by
            patient.
        constant: the metric of the best prediction that is the same everywhere; minus infinity where it is not known.
        by_seed: (C, S), what means over seeds are of; None where there is one seed, or `values` has all.
    """

    values: Array
    without: Array
    constant: float = -math.inf
    by_seed: Array | None = None

    @property
    def by_patient(self) -> Array:
        """Jackknife pseudo-values (C, P) of means over seeds: their mean is the metric, and their standard error its own."""
        return pseudo_values(self.values, self.without) if self.without.shape[1] else self.values[:, None]

    def mean_over_seeds(self) -> "Scores":
        """Return the means over seeds, (C,) and (C, P)."""
        by_seed = self.values if self.values.shape[1] > 1 else None
        return Scores(self.values.mean(axis=1), self.without.mean(axis=1), self.constant, by_seed)


def read_scores(by_model: Sequence[Sequence[Path]]) -> Scores:
    """Read the scores of fine-tuned models, (C, S) and (C, S, P).

    Args:
        by_model: the folders of each model, one per seed.

    Raises:
        InputError: a file is damaged, or the results are of different patients.
    """
    read = [[_read(folder) for folder in folders] for folders in by_model]
    patients = [one.patients for seeds in read for one in seeds]
    if any(names != patients[0] for names in patients):
        raise InputError(
            f"expected the same validation patients in all fine-tunings, but they differ in {by_model[0][0].parent}; remove this "
            "folder and run the same command again"
        )
    values = np.array([[one.value for one in seeds] for seeds in read])
    without = np.array([[one.without for one in seeds] for seeds in read], dtype=np.float64)
    constant = max(one.constant for seeds in read for one in seeds)
    return Scores(values, without.reshape(*values.shape, -1), constant)


class _Score(NamedTuple):
    """Primary metric of a model, the metric without each patient, the patients, and the metric of a constant prediction."""

    value: float
    without: list[float]
    patients: tuple[str, ...]
    constant: float


def _read(folder: Path) -> _Score:
    """Read the score of a model."""
    result = read_result(folder / "metrics.json")
    value = result.metrics[result.primary]
    constant = result.metrics.get(TASKS[result.task].primary.constant("validation"), -math.inf)
    if not has_patients(result.primary):
        return _Score(value, [], (), constant)
    table = by_patient(folder / PER_SAMPLE, result.primary)
    if len(table.patients) < 2:
        return _Score(value, [], table.patients, constant)
    without = _without_each(table)
    return _Score(value, without.tolist() if np.isfinite(without).all() else [], table.patients, constant)


def _without_each(table: ByPatient) -> NDArray[np.float64]:
    """Return the metric without each patient in turn, (P,)."""
    number = len(table.patients)
    count = min(number, -(-(number**2) // AT_ONCE))  # all at once would need gigabytes for many thousands
    blocks = np.array_split(np.arange(number), count)
    return np.concatenate([table.values(np.arange(number) != left_out[:, None]) for left_out in blocks])
