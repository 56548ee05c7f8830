"""Keys of the fine-tunings on disk, remembered by the states of their files: tens of thousands are not read by each command."""

import time
from contextlib import suppress
from pathlib import Path

from medtransfer.environment import own_folder
from medtransfer.hashing import digest
from medtransfer.records import write_json
from medtransfer.records.file_states import State, file_state, is_settled
from medtransfer.records.json import parse_json

METRICS = "metrics.json"


class KeysOnDisk:
    """The keys of the models in a folder, as their `metrics.json` had them when it was read last."""

    def __init__(self, models: Path) -> None:
        """Read what is remembered; nothing if that cannot be read."""
        self._models, self._moment = models, time.time()
        self._file = own_folder() / "results" / f"{digest(str(models.resolve()))}.json"
        self._before, self._now = _read(self._file), dict[str, tuple[State, str]]()
        self._states: dict[str, State] = {}

    def find(self, name: str) -> str | None:
        """Return the key of a model whose `metrics.json` has not changed since it was read; None if it has to be read.

        Args:
            name: path of its folder below that of all models.
        """
        try:
            state = self._states[name] = file_state(f"{self._models}/{name}/{METRICS}")
        except OSError:  # it is missing, or may not be read, which reading it says
            return None
        known, key = self._before.get(name, (None, None))
        if known != state or key is None:
            return None
        self._now[name] = state, key
        return key

    def note(self, name: str, key: str) -> None:
        """Remember the key of a model that was read after it was not found."""
        state = self._states.get(name)  # None of one that was finished meanwhile
        if state is not None and is_settled(state, self._moment):
            self._now[name] = state, key

    def write(self) -> None:
        """Keep what was found and noted; a user who may not write there reads the results again the next time."""
        if self._now != self._before:
            with suppress(OSError):
                write_json(self._file, {name: [*state, key] for name, (state, key) in self._now.items()})


def _read(path: Path) -> dict[str, tuple[State, str]]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        return {name: ((size, modified, changed), str(key)) for name, (size, modified, changed, key) in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
