"""Remember the finished results that a lost tracking store missed; their stages publish them from disk later.

A mark holds only the run's name and start; params, curves and files come from the result on disk. It is needed if the store
has an older finished run of the cell (`--force`), and it makes the next command publish.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from medtransfer.environment import own_folder, workspace
from medtransfer.hashing import digest
from medtransfer.records import in_one_line, parse_json, write_json
from medtransfer.tracking import store

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Missed:
    """A finished result whose run the store lacks.

    Attributes:
        stage: stage of the run.
        name: name of the run.
        cell: digest of everything that the result depends on.
        started: start of the work, milliseconds since 1970.
        address: digest of the store's address.
    """

    stage: str
    name: str
    cell: str
    started: int
    address: str

    @property
    def _path(self) -> Path:
        return _folder() / f"{self.stage}-{self.cell}-{self.address}.json"

    def write(self) -> None:
        """Write the mark."""
        write_json(self._path, asdict(self))

    def drop(self) -> None:
        """Remove the mark."""
        self._path.unlink(missing_ok=True)


def mark(stage: str, name: str, cell: str, started: int) -> None:
    """Remember that the current store missed a finished result."""
    Missed(stage, name, cell, started, _address()).write()


def missed_runs(stage: str | None = None) -> list[Missed]:
    """List the results that the current store missed, of one stage or of all; damaged marks are removed."""
    address = _address()
    marks = [run for path in sorted(_folder().glob("*.json")) if (run := _read(path))]
    return [run for run in marks if run.address == address and stage in (None, run.stage)]


def forget(stage: str, cells: Iterable[str]) -> None:
    """Remove the marks of cells whose newest result the store now has."""
    published = set(cells)
    for run in missed_runs(stage):
        if run.cell in published:
            run.drop()


def _read(path: Path) -> Missed | None:
    try:
        run = Missed(**parse_json(path.read_bytes()))
        if path != run._path or type(run.started) is not int:
            raise ValueError("its fields do not fit its name")
    except FileNotFoundError:  # another process published the result
        return None
    except (OSError, ValueError, TypeError) as error:
        path.unlink(missing_ok=True)
        log.warning(
            "%s, which named a result that the tracking store missed, was damaged and is removed (%s)", path, in_one_line(error)
        )
        return None
    return run


def _address() -> str:
    """Return the digest of the store's address; that of a file in the working tree remains the same when the tree is moved."""
    uri = store.store_uri()
    file = store.sqlite_file(uri)
    return digest(str(file.relative_to(workspace())) if file and file.is_relative_to(workspace()) else uri)


def _folder() -> Path:
    return own_folder() / "missed"
