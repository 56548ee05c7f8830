"""Results that are made of the tracking store, such as a report, which are made again only if something has changed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer import __version__
from medtransfer.config.loaded_files import repeated_options
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.records.finished import forget_finished, read_finished, write_finished
from medtransfer.tracking import store
from medtransfer.tracking.query import peek_runs
from medtransfer.tracking.runs import reused
from medtransfer.tracking.tags import CELL


@dataclass(frozen=True)
class Made:
    """A result that was made of the store.

    Attributes:
        cells: digests of its runs in the store; the first is the one that shows the result.
        files: its files.
        texts: its texts for the terminal.
    """

    cells: Sequence[str]
    files: Sequence[Path]
    texts: Sequence[str]


def make_of_store(
    stage: str, out: Path, request: object, unread: Collection[str] | None, make: Callable[[], Made], force: bool = False
) -> Sequence[str]:  # fmt: skip
    """Return the texts of a result, which is made unless its folder holds it, made of the same request and the same store.

    Args:
        stage: stage of the result and of its run.
        out: folder of the result.
        request: everything else that it is made of, as JSON values.
        unread: stages whose runs it is not made of, besides its own; None if it is made of its own alone.
        make: makes the result; within it the folder is locked.
        force: whether to make it again even if nothing has changed.
    """
    with exclusive(out):
        state = [] if unread is None else _read_state({stage, *unread})
        key = digest([__version__, stage, request, state, repeated_options()])
        done = None if force or state is None else read_finished(out, key)
        if done and _are_stored(stage, done.cells) and reused(stage, stage, done.cells[0]):
            return done.texts
        forget_finished(out)
        made = make()
        if state is not None:
            write_finished(out, key, made.cells, made.files, made.texts)
        return made.texts


def _are_stored(stage: str, cells: Collection[str]) -> bool:
    return set(cells) <= {run.tags[CELL] for run in peek_runs(stage, only=())}


def _read_state(unread: Collection[str]) -> list[Any] | None:
    """Return what changes whenever a finished run of other stages does; None of a store that is no database."""
    if store.is_unmade():
        return None
    from medtransfer.tracking.sql import peek, read_state

    return peek(store.store_uri(), lambda engine: read_state(engine, unread))
