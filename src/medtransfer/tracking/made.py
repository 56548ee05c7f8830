"""Results that are made of the tracking store, such as a report, which are made again only if something has changed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtransfer.config.loaded_files import repeated_options
from medtransfer.environment import code_digest
from medtransfer.forks import beside
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.progress import status
from medtransfer.records.finished import Finished, forget_finished, read_finished, write_finished
from medtransfer.tracking import store
from medtransfer.tracking.query import read_runs, watching
from medtransfer.tracking.runs import reused
from medtransfer.tracking.tags import CELL

UNCHANGED = "what it is made of has not changed since run {}: reused; --force makes it again"


@dataclass(frozen=True)
class Made:
    """A result that was made of the store.

    Attributes:
        cells: digests of its runs in the store; the first is the one that shows the result.
        files: its files.
        texts: its texts for the terminal.
        states: states of the store (`read_states`) once all that it is made of was read; None to read them when it is made.
    """

    cells: Sequence[str]
    files: Sequence[Path]
    texts: Sequence[str]
    states: Mapping[str, str] | None = None


def make_of_store(
    stage: str, out: Path, request: object, load: Callable[[], Callable[[], Made]], *, force: bool = False, own_runs: bool = False
) -> Sequence[str]:  # fmt: skip
    """Return the texts of a result, which is made unless its folder holds it, made of the same request and the same runs.

    It is made of the runs of the stages that are read while it is made. A result is not recorded as finished, so that it is
    made again next time, if one of these runs changed meanwhile, if an artifact could not be read, or if the store is no database.

    Args:
        stage: stage of the result and of its run.
        out: folder of the result.
        request: everything else that it is made of, as JSON values.
        load: loads what makes the result, and returns it; it reads nothing of the store that the result is made of. The folder is
            locked meanwhile.
        force: whether to make it again even if nothing has changed.
        own_runs: whether it is also made of further runs of its own stage, which are written while it is made.
    """
    key = digest([code_digest(), stage, request, str(out), repeated_options()])
    with exclusive(out):
        done = None if force else _read(out, key)
        if done and _are_stored(stage, done.cells) and reused(stage, stage, done.cells[0], said=UNCHANGED):
            return done.texts
        forget_finished(out)
        with status("reading the tracking store"), beside(read_states) as reading:
            make = load()
        before = reading.result
        with watching() as seen:
            made = make()
        with status("reading the tracking store"):
            after = made.states or read_states()
        stages = seen.stages - {stage}
        if not seen.unreadable and before is not None and after is not None and _pick(before, stages) == _pick(after, stages):
            states = _pick(after, stages | ({stage} if own_runs else set()))
            write_finished(out, key, made.cells, made.files, made.texts, states)
        return made.texts


def _read(out: Path, key: str) -> Finished | None:
    """Return the record of a result that was made of the same, and whose files are as they were written."""
    done = read_finished(out, key)
    if done is None or not done.cells or not done.texts:
        return None
    with status("reading the tracking store"):
        states = read_states()
    return done if states is not None and _pick(states, done.states) == done.states else None


def _are_stored(stage: str, cells: Collection[str]) -> bool:
    return set(cells) <= {run.tags[CELL] for run in read_runs(stage, only=())}


def _pick(states: Mapping[str, str], stages: Collection[str]) -> dict[str, str]:
    return {stage: states.get(stage, "") for stage in stages}


def read_states() -> dict[str, str] | None:
    """Return by stage what changes whenever one of its finished runs does; None of a store that is no database."""
    if store.is_unmade():
        return None
    from medtransfer.tracking import sql

    return sql.peek(store.store_uri(), sql.read_states)
