"""Files of a dataset that cannot be used: all are named, not only the first."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from medtransfer.errors import InputError
from medtransfer.wording import are

MOST = 20  # things that cannot be used, after which the others are not looked at
MOST_AT_FIRST = 3  # the same while none could be used: a setting is wrong rather than some files
SOON = 5.0  # seconds after which the first one is named although there is no second
Source = TypeVar("Source")
Result = TypeVar("Result")

log = logging.getLogger("medtransfer")


class Faults:
    """Things that cannot be used: the others are looked at nevertheless, so that all can be mended at once.

    Each is named; the only one of a dataset by the error alone, unless looking at the others takes long.
    """

    def __init__(self) -> None:
        """Begin without one."""
        self._errors: list[InputError] = []
        self._kinds: set[str] = set()
        self._unnamed: list[str] = []
        self._has_usable = False
        self._first = 0.0

    def see(self, error: InputError | None, files: Sequence[Path] = ()) -> None:
        """Note whether a thing can be used.

        Args:
            error: why it cannot; None if it can.
            files: its files, which the sentence may name.
        """
        if error is None:
            self._has_usable = True
            if self._errors and time.monotonic() - self._first > SOON:
                self._name()
            return
        self._first = self._first or time.monotonic()
        self._unnamed.append(self._described(str(error), sorted(files, key=lambda file: -len(str(file)))))
        self._errors.append(error)
        if len(self._errors) > 1:
            self._name()

    def go_on(self) -> None:
        """Raise the error of `check` where looking at a further thing is of no use."""
        if len(self._errors) >= (MOST if self._has_usable else MOST_AT_FIRST):
            self.check("; the rest was not looked at")

    def _described(self, sentence: str, files: Sequence[Path]) -> str:
        """Return a sentence, or where the same was said of another file, which file it is of, too."""
        kind = sentence
        for file in files:
            kind = kind.replace(str(file), "<file>")
        if kind in self._kinds:
            return f"{next(file for file in files if str(file) in sentence)}: the same"
        if kind == sentence:
            return f"{files[0]}: {sentence}" if files else sentence
        self._kinds.add(kind)
        return sentence

    def _name(self) -> None:
        for sentence in self._unnamed:
            log.warning("prepare: %s", sentence)
        self._unnamed.clear()

    def check(self, end: str = "") -> None:
        """Raise InputError if there is one: the first one's sentence, how many others there are, and `end`."""
        if len(self._errors) > 1:
            raise InputError(f"{self._errors[0]} ({are(len(self._errors) - 1, 'other')} named above{end})")
        if self._errors:
            raise self._errors[0]


def attempt_all(
    sources: Iterable[Source], work: Callable[[Source], Result], files_of: Callable[[Source], Sequence[Path]]
) -> list[Result]:  # fmt: skip
    """Return what work makes of each source.

    Args:
        sources: what is worked on.
        work: raises InputError where one cannot be used.
        files_of: returns the files of a source.

    Raises:
        InputError: some cannot be used; it is raised after the last, or where there are too many.
    """
    faults, results = Faults(), []
    for source in sources:
        faults.go_on()
        try:
            results.append(work(source))
            faults.see(None)
        except InputError as error:
            faults.see(error, files_of(source))
    faults.check()
    return results
