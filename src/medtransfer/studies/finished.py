"""Finished fine-tunings of a study, read from the tracking store without the libraries that train."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import NamedTuple

from medtransfer import study, tracking
from medtransfer.config.study_files import Part
from medtransfer.records import CellName

NAMES = tuple(field.name for field in fields(CellName))
DIGESTS = ("pretraining", "data", "protocol")
PORTIONS = ("size", "fold", "folds")


@dataclass(frozen=True)
class Finished:
    """A finished fine-tuning.

    Attributes:
        cell: its cell.
        metric: name of the primary metric.
        value: its value on the test samples.
        seconds: duration of training and testing; None where it is not known.
        run: id of its run.
        digests: of the pretraining, the data and the recipe.
    """

    cell: CellName
    metric: str
    value: float
    seconds: float | None
    run: str
    digests: tuple[str, ...] = ()


def read_finished(part: Part, cells: Sequence[CellName], runs: Sequence[tracking.StoredRun]) -> list[Finished]:
    """Return the finished cells of a part by its recipe, on its prepared targets and from its checkpoints.

    Args:
        part: the part.
        cells: its cells.
        runs: all finished fine-tunings of the store, newest first.
    """
    wanted = {_key({name: str(getattr(cell, name)) for name in NAMES}): cell for cell in cells}
    described = study.described(part.params) if runs else None
    newest: dict[CellName, Finished] = {}
    for run in runs:
        params = {**dict.fromkeys(PORTIONS, "None"), **run.params}
        if not {*NAMES, *DIGESTS, "primary"} <= params.keys() or (cell := wanted.get(_key(params))) is None or cell in newest:
            continue
        if described is None or described.differing(params) or params.get("evaluate", "test") != "test":
            continue
        if (value := run.metrics.get(params["primary"])) is not None:
            seconds = run.tags.get("seconds")
            newest[cell] = Finished(
                cell, params["primary"], value, float(seconds) if seconds else None, run.id, tuple(params[name] for name in DIGESTS)
            )  # fmt: skip
    return [newest[cell] for cell in cells if cell in newest]


def _key(params: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(params[name] for name in NAMES)


class Start(NamedTuple):
    """Weights that fine-tunings start from, and what else they share.

    Attributes:
        encoder: encoder of the weights.
        origin: their origin.
        epoch: their epoch.
        folds: number of folds; None without.
        digests: of the pretraining, the data and the recipe: results that differ in one are never mixed.
    """

    encoder: str
    origin: str
    epoch: int
    folds: int | None = None
    digests: tuple[str, ...] = ()

    @classmethod
    def of(cls, finished: Finished) -> "Start":
        """Return the start of a fine-tuning."""
        cell = finished.cell
        return cls(cell.encoder, cell.origin, cell.epoch, cell.folds, finished.digests)


def repetitions(finished: Sequence[Finished]) -> dict[Start, list[float]]:
    """Return the values of every start: one per fold, its mean over seeds, or one per seed."""
    by_fold: dict[Start, dict[object, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in finished:
        cell = one.cell
        by_fold[Start.of(one)][("fold", cell.fold) if cell.folds else ("seed", cell.seed)].append(one.value)
    return {start: [fmean(values) for _, values in sorted(found.items(), key=str)] for start, found in by_fold.items()}
