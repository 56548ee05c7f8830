"""Finished fine-tunings of a study, read from the tracking store without the libraries that train."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import NamedTuple

from medtransfer import study, tracking
from medtransfer.config.study_files import Part
from medtransfer.records import CellName
from medtransfer.records.lineage import are_random, read_parents

RANDOM = "random"  # name of random weights
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
        continued: whether its pretraining continues from trained weights, which are its epoch 0.
    """

    cell: CellName
    metric: str
    value: float
    seconds: float | None
    run: str
    digests: tuple[str, ...] = ()
    continued: bool = False


def read_continued() -> set[str]:
    """Return the digests of the pretrainings in the store that continue from trained weights."""
    runs = tracking.read_runs("pretrain")
    return {run.params["pretraining"] for run in runs if "pretraining" in run.params and not are_random(read_parents(run.params))}


def read_finished(
    part: Part, cells: Sequence[CellName], runs: Sequence[tracking.StoredRun], continued: Collection[str] = ()
) -> list[Finished]:  # fmt: skip
    """Return the finished cells of a part by its recipe, on its prepared targets and from its checkpoints.

    Args:
        part: the part.
        cells: its cells.
        runs: all finished fine-tunings of the store, newest first.
        continued: digests of the pretrainings that continue from trained weights.
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
                cell, params["primary"], value, float(seconds) if seconds else None, run.id,
                tuple(params[name] for name in DIGESTS), params["pretraining"] in continued,
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
        random: whether they are random.
        folds: number of folds; None without.
        digests: of the pretraining, the data and the recipe: results that differ in one are never mixed.
    """

    encoder: str
    origin: str
    epoch: int
    random: bool
    folds: int | None = None
    digests: tuple[str, ...] = ()

    @classmethod
    def of(cls, finished: Finished) -> "Start":
        """Return the start of a fine-tuning."""
        cell = finished.cell
        random = cell.epoch == 0 and not finished.continued
        return cls(cell.encoder, cell.origin, cell.epoch, random, cell.folds, finished.digests)


def name_origins(starts: Collection[Start]) -> dict[Start, str]:
    """Return what starts of one target, mode and size are called beside their encoder: the origin, or random.

    Random weights of several origins of an encoder are different ones, and named by these.
    """
    random = Counter(encoder for encoder, _ in {(start.encoder, start.origin) for start in starts if start.random})
    return {
        start: start.origin if not start.random else RANDOM if random[start.encoder] == 1 else f"{RANDOM} of {start.origin}"
        for start in starts
    }  # fmt: skip


def name_starts(parts: Mapping[Start, Sequence[str]]) -> dict[Start, str]:
    """Return a name of each start of one target, mode and size.

    Args:
        parts: names of the parts that each is of, which tell starts apart that else have the same name; after them the number
            of folds, and the digests in which they differ.
    """
    names = {
        start: f"{start.encoder} {origin}" + ("" if start.random else f", epoch {start.epoch}")
        for start, origin in name_origins(parts).items()
    }  # fmt: skip
    names = _apart(names, {start: f" ({', '.join(names)})" if any(names) else "" for start, names in parts.items()})
    names = _apart(names, {start: f" ({start.folds} folds)" if start.folds else "" for start in parts})
    for index, kind in enumerate(DIGESTS):
        names = _apart(names, {start: f" [{kind} {start.digests[index][:8]}]" if start.digests else "" for start in parts})
    return names


def _apart(names: Mapping[Start, str], ends: Mapping[Start, str]) -> dict[Start, str]:
    """Return the names, with an end each where a name occurs again and the ends differ."""
    by_name: dict[str, set[str]] = defaultdict(set)
    for start, name in names.items():
        by_name[name].add(ends[start])
    return {start: name + (ends[start] if len(by_name[name]) > 1 else "") for start, name in names.items()}


def by_repetition(finished: Sequence[Finished]) -> list[list[Finished]]:
    """Return the results of each fold, all its seeds; of each seed without folds. A run of several parts counts once."""
    groups: dict[tuple[str, object], dict[str, Finished]] = defaultdict(dict)
    for one in finished:
        cell = one.cell
        groups[("fold", cell.fold) if cell.folds else ("seed", cell.seed)][one.run] = one
    return [list(group.values()) for _, group in sorted(groups.items(), key=lambda item: str(item[0]))]


def repetitions(finished: Sequence[Finished]) -> dict[Start, list[float]]:
    """Return the values of every start: one per fold, its mean over seeds, or one per seed."""
    by_start: dict[Start, list[Finished]] = defaultdict(list)
    for one in finished:
        by_start[Start.of(one)].append(one)
    return {start: [fmean(one.value for one in group) for group in by_repetition(own)] for start, own in by_start.items()}
