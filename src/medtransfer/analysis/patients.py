"""How much the outcomes of a pool depend on which patients are in the test set."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medtransfer import tracking
from medtransfer.analysis.model import Sampling
from medtransfer.analysis.pool import Pool
from medtransfer.errors import InputError
from medtransfer.metrics.classification import weigh_samples
from medtransfer.metrics.counts import OVERLAP, Counts
from medtransfer.metrics.image_labels import AUC, KAPPA, Predicted, measure, read_label_columns
from medtransfer.metrics.transfer import Key
from medtransfer.records import PER_SAMPLE
from medtransfer.records.tables import Table, read_table

Array = NDArray[np.float64]
Taken = NDArray[Any]  # (B, P), whole numbers of any type
CELLS = ("tp", "fp", "fn", "tn")
REMEDY = "make it again with `medtransfer finetune --force`"
AT_ONCE = 2_000_000  # weights of images that are held in memory at once


class ByPatient(Protocol):
    """What a fine-tuning predicted for each test patient, of which its primary metric is computed."""

    @property
    def patients(self) -> tuple[str, ...]:
        """Names of the patients, in alphabetical order."""

    def values(self, taken: Taken) -> Array:
        """Return the metric (B,) where each patient counts as often as `taken` (B, P) says; NaN where it is undefined."""


@dataclass(frozen=True)
class OverlapByPatient:
    """Pixels of the confusion matrix.

    Attributes:
        metric: a key of OVERLAP.
        patients: names of the patients.
        counts: (P, 4, classes), in the order of CELLS; regions instead of classes where there are some.
    """

    metric: str
    patients: tuple[str, ...]
    counts: NDArray[np.int64]

    def values(self, taken: Taken) -> Array:
        """Pool the counts of each draw; see `ByPatient`."""
        counts = self.counts.astype(np.float64)  # which BLAS multiplies
        parts = [np.tensordot(part.astype(np.float64), counts, axes=1) for part in _blocks(taken, len(self.patients))]
        pooled = np.concatenate(parts).astype(np.int64)  # (B, 4, classes)
        return OVERLAP[self.metric](Counts(*np.moveaxis(pooled, 1, 0))).mean(axis=-1)


@dataclass(frozen=True)
class LabelsByPatient:
    """Labels and probabilities of images.

    Attributes:
        metric: AUC or KAPPA.
        patients: names of the patients.
        patient: position of each image's patient, (N,).
        predicted: labels and probabilities.
    """

    metric: str
    patients: tuple[str, ...]
    patient: NDArray[np.int64]
    predicted: Predicted

    def values(self, taken: Taken) -> Array:
        """Weigh the images of each draw; see `ByPatient`."""
        predicted = replace(self.predicted)  # keeps its rankings for these draws alone
        parts = (weigh_samples(part, self.patient) for part in _blocks(taken, len(self.patient)))
        return np.concatenate([measure(predicted, self.metric, weights)[0] for weights in parts])


def _blocks(taken: Taken, width: int) -> Iterator[Taken]:
    """Yield so many draws at a time that AT_ONCE numbers of a width are held."""
    size = max(1, AT_ONCE // max(1, width))
    return (taken[first : first + size] for first in range(0, len(taken), size))


def runs_to_resample(pool: Pool) -> dict[tuple[Key, int], str]:
    """Return the fine-tunings of a pool that are resampled, by candidate and seed; none where they have no values by image."""
    if not has_patients(pool.metric.name):
        return {}
    return {cell: run for cell, run in pool.fine_tunings.items() if cell[1] in pool.used_seeds}


def resample_patients(
    pool: Pool, sampling: Sampling, done: Callable[[], object] = lambda: None
) -> tuple[list[Key], Array, int] | None:  # fmt: skip
    """Draw the mean outcomes of a pool with its test patients resampled, the same patients for every candidate and seed.

    Args:
        pool: the pool.
        sampling: how draws are made.
        done: called after each fine-tuning of `runs_to_resample`.

    Returns:
        The candidates, draws (B, C) of their means over seeds, and the number of patients; None where the fine-tunings have
        no values by image, or fewer than two patients. Draws that do not define the metric are left out.

    Raises:
        InputError: a table is damaged, or the tables are of other patients.
    """
    if not (runs := runs_to_resample(pool)):
        return None
    read = partial(by_patient, metric=pool.metric.name)
    tables = dict(zip(runs, tracking.read_artifacts(list(runs.values()), f"model/{PER_SAMPLE}", read), strict=True))
    patients = next(iter(tables.values())).patients
    if any(table.patients != patients for table in tables.values()):
        raise InputError(f"expected the same test patients in every fine-tuning of {pool.name}, but they differ")
    if len(patients) < 2:
        return None
    rng = sampling.generator("patients", str(len(patients)))
    taken = np.empty((sampling.draws, len(patients)), dtype=np.uint16)  # none is taken anywhere near 65,535 times
    for part in _blocks(taken, len(patients)):
        part[:] = rng.multinomial(len(patients), [1 / len(patients)] * len(patients), size=len(part))
    keys = list(pool.means)
    drawn = np.zeros((sampling.draws, len(keys)))
    for index, key in enumerate(keys):
        seeds = [table for (candidate, _), table in tables.items() if candidate == key]
        for table in seeds:
            drawn[:, index] += table.values(taken) / len(seeds)
            done()
    defined = np.isfinite(drawn).all(axis=1)
    return (keys, drawn[defined], len(patients)) if defined.any() else None


def has_patients(metric: str) -> bool:
    """Return whether fine-tunings that are judged by a metric have what it is computed of, by image."""
    return metric in OVERLAP or metric in (AUC, KAPPA)


def by_patient(path: Path, metric: str) -> ByPatient:
    """Read the values of a fine-tuning by patient.

    Args:
        path: its table of values by image.
        metric: its primary metric, one that `has_patients`.

    Raises:
        InputError: the table is missing or damaged.
    """
    table = read_table(path, REMEDY)
    if metric in OVERLAP:
        sums = _sums(table)
        return OverlapByPatient(metric, tuple(sums), np.stack(list(sums.values())) if sums else np.zeros((0, 4, 0), np.int64))
    try:
        predicted = read_label_columns(table)
    except (ValueError, IndexError) as error:
        raise InputError(f"expected labels and probabilities of every image in {path}, but {error}; {REMEDY}") from None
    groups = [row[table.columns.index("group")] for row in table.rows]
    names, patient = np.unique(groups, return_inverse=True)
    return LabelsByPatient(metric, tuple(names.tolist()), patient, predicted)


def _sums(table: Table) -> Mapping[str, NDArray[np.int64]]:
    """Return the counts of what the metric is the mean over, summed by patient: (4, classes) by name, in alphabetical order."""
    part = "region" if "tp_region_1" in table.columns else "class"
    number = sum(column.startswith(f"tp_{part}_") for column in table.columns)
    columns = [[table.columns.index(f"{cell}_{part}_{c + 1}") for c in range(number)] for cell in CELLS]
    group = table.columns.index("group")
    sums: dict[str, NDArray[np.int64]] = {}
    for row in table.rows:
        counts = np.array([[int(row[column]) for column in cells] for cells in columns], dtype=np.int64)
        sums[row[group]] = sums.get(row[group], 0) + counts
    return dict(sorted(sums.items()))
