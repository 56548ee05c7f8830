"""What the section `study` plans beside the fine-tunings that are judged."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from medtransfer.analysis.described import Described
from medtransfer.analysis.pool import PORTION, Pool, portion_of
from medtransfer.config.loaded_files import repeated_options
from medtransfer.records import CellName
from medtransfer.wording import are, counted

MOST_VALUES = 4  # of a field, that a line names
WITHOUT = {"size": "all", "fold": "none"}  # words for empty fields


class _Cell(NamedTuple):
    """A fine-tuning by the fields of its pool, its candidate and its seed."""

    target: str
    encoder: str
    origin: str
    mode: str
    size: str
    fold: str
    epoch: int
    seed: int


def compare_with_plan(described: Described | None, pools: Sequence[Pool]) -> tuple[str, ...]:
    """Say how many planned fine-tunings the store lacks, and how many are judged that are not planned.

    Args:
        described: the study that is judged, with what its section `study` plans; None for everything in the store. Of
            pretrainings with unknown ends, if any of their checkpoints was fine-tuned, the others are not missed.
        pools: what is judged.

    Returns:
        Up to two lines; none where nothing that is judged is planned, since the section then describes another study.
    """
    if described is None:
        return ()
    wanted = {cell: _planned(cell) for cell in described.planned}
    known = {cell for pool in pools for cell in _judged(pool)}
    seedless = {cell[:-1] for pool in pools if pool.seedless for cell in _judged(pool)}
    ended = {(cell.encoder, cell.origin) for cell in known} & described.unknown_ends
    missing = [
        cell for cell, fields in wanted.items()
        if fields not in known and fields[:-1] not in seedless and (cell.encoder, cell.origin) not in ended
    ]  # fmt: skip
    if not known & set(wanted.values()):
        return ()
    lines = []
    if missing:
        lines.append(
            f"{len(missing):,} of the {counted(len(wanted), 'fine-tuning')} that the section `study` plans "
            f"{'is' if len(missing) == 1 else 'are'} not in the store, such as {missing[0].name}; "
            f"`medtransfer grid{repeated_options()}`, or the study that they are of, makes them"
        )
    if beyond := known - set(wanted.values()):
        differing = _differing(beyond, wanted.values())
        lines.append(f"{are(len(beyond), 'fine-tuning')} judged that the section `study` does not plan: {differing}")
    return tuple(lines)


def _planned(cell: CellName) -> _Cell:
    size, fold = portion_of({name: str(getattr(cell, name)) for name in PORTION})
    return _Cell(cell.target, cell.encoder, cell.origin, cell.mode, size, fold, cell.epoch, cell.seed)


def _judged(pool: Pool) -> list[_Cell]:
    target, encoder, origin, mode = (pool.fields[name] for name in ("target", "encoder", "origin", "mode"))
    return [
        _Cell(target, encoder, origin, mode, *pool.portion, epoch, seed) for epoch, seed in pool.outcome if isinstance(epoch, int)
    ]


def _differing(beyond: Collection[_Cell], planned: Iterable[_Cell]) -> str:
    """Name the values of what is not planned that no planned fine-tuning has."""
    parts = []
    for name, mine, theirs in zip(_Cell._fields, zip(*beyond, strict=True), zip(*planned, strict=True), strict=True):
        values = sorted(set(mine) - set(theirs))
        if values:
            shown = [WITHOUT[name] if value == "" else str(value) for value in values[:MOST_VALUES]]
            more = [f"{len(values) - MOST_VALUES} more"] if len(values) > MOST_VALUES else []
            parts.append(f"{name} {', '.join([*shown, *more])}")
    return "; ".join(parts) or "other combinations of what it names"
