"""How much the outcomes of a pool depend on which patients are in the test set."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtransfer import tracking
from medtransfer.analysis.model import Sampling
from medtransfer.analysis.pool import Pool
from medtransfer.errors import InputError
from medtransfer.metrics.counts import OVERLAP, Counts
from medtransfer.metrics.transfer import Key
from medtransfer.records import PER_SAMPLE
from medtransfer.records.tables import read_table

Array = NDArray[np.float64]
CELLS = ("tp", "fp", "fn", "tn")


def resample_patients(pool: Pool, sampling: Sampling) -> tuple[list[Key], Array, int] | None:
    """Draw the mean outcomes of a pool with its test patients resampled, the same patients for every candidate and seed.

    Returns:
        The candidates, draws (B, C) of their means over seeds, and the number of patients; None where the fine-tunings have
        no counts by image, or fewer than two patients.

    Raises:
        InputError: a table of counts is damaged, or the tables are of other patients.
    """
    formula = OVERLAP.get(pool.metric.name)
    runs = {cell: run for cell, run in pool.fine_tunings.items() if cell[1] in pool.used_seeds}
    if formula is None or not runs:
        return None
    tables = {cell: _read(run) for cell, run in runs.items()}
    patients = next(iter(tables.values())).keys()
    if any(table.keys() != patients for table in tables.values()):
        raise InputError(f"expected the same test patients in every fine-tuning of {pool.name}, but they differ")
    if len(patients) < 2:
        return None
    rng = sampling.generator("patients", str(len(patients)))
    taken = rng.multinomial(len(patients), [1 / len(patients)] * len(patients), size=sampling.draws)  # (B, P)
    keys = list(pool.means)
    drawn = np.zeros((sampling.draws, len(keys)))
    for index, key in enumerate(keys):
        seeds = [table for (candidate, _), table in tables.items() if candidate == key]
        for table in seeds:
            counts = np.stack(list(table.values()))  # (P, 4, classes)
            pooled = np.tensordot(taken, counts, axes=1)  # (B, 4, classes)
            drawn[:, index] += formula(Counts(*np.moveaxis(pooled, 1, 0))).mean(axis=-1) / len(seeds)
    return keys, drawn, len(patients)


def _read(run: str) -> Mapping[str, NDArray[np.int64]]:
    """Read the counts of a fine-tuning from the store."""
    name = f"model/{PER_SAMPLE}"
    with tracking.artifact_folder(run, name) as path:
        return counts_by_patient(Path(path))


def counts_by_patient(path: Path) -> Mapping[str, NDArray[np.int64]]:
    """Read the counts of a fine-tuning, summed by patient: (4, classes) by name, in alphabetical order.

    Raises:
        InputError: the table is missing or damaged.
    """
    table = read_table(path, "make it again with `medtransfer finetune --force`")
    classes = sum(column.startswith("tp_class_") for column in table.columns)
    columns = [[table.columns.index(f"{cell}_class_{c + 1}") for c in range(classes)] for cell in CELLS]
    group = table.columns.index("group")
    sums: dict[str, NDArray[np.int64]] = {}
    for row in table.rows:
        counts = np.array([[int(row[column]) for column in cells] for cells in columns], dtype=np.int64)
        sums[row[group]] = sums.get(row[group], 0) + counts
    return dict(sorted(sums.items()))
