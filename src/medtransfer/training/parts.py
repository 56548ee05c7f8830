"""Parts of an epoch, after each of which a training may be saved, and resumed to the same bits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medtransfer.errors import InputError
from medtransfer.seeds import derive_seed
from medtransfer.wording import counted

PART = 100  # optimiser steps; losses are checked, and summed, in groups that end with it, whether a state is saved or not


@dataclass(frozen=True)
class PartialEpoch:
    """What is done of an epoch that is not finished.

    Attributes:
        steps: optimiser steps, a multiple of PART.
        total: sum of the losses of its micro-batches.
        count: number of these.
        terms: mean of each term of the loss over them, by name.
    """

    steps: int = 0
    total: float = 0.0
    count: int = 0
    terms: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, progress: dict[str, Any]) -> "PartialEpoch":
        """Return what the progress of a saved training says; nothing is done where it was saved at the end of an epoch."""
        return cls(**progress.get("part") or {})

    @property
    def progress(self) -> dict[str, Any]:
        """What the progress of a training that is saved says of it."""
        return {"part": asdict(self)} if self.steps else {}


NOTHING = PartialEpoch()  # is done


def parts_of(steps: int, done: int) -> Iterator[tuple[int, int]]:
    """Yield the first step of each part of an epoch, and the one after its last, for what is left after some steps."""
    for begin in range(done, steps, PART):
        yield begin, min(begin + PART, steps)


def part_seed(begin: int, *names: int | str) -> int:
    """Return the seed of the part of an epoch that begins at a step; that of the first is `derive_seed` of the names alone."""
    return derive_seed(*names, *([begin // PART] if begin else []))


def require_part(done: PartialEpoch, steps: int, path: Path) -> None:
    """Raise InputError if a state says that as many steps of an epoch are done as it has, or more."""
    if done.steps >= steps:
        raise InputError(
            f"expected less than an epoch of {counted(steps, 'step')} in the state {path}, but it says that {done.steps:,} are "
            "done; remove the file and run again"
        )


def describe_progress(progress: dict[str, Any]) -> str:
    """Say how far a training was saved, by its progress."""
    epoch, steps = progress["epoch"], PartialEpoch.of(progress).steps
    if not steps:
        return f"epoch {epoch}"
    part = f"{counted(steps, 'step')} of epoch {epoch + 1}"
    return f"epoch {epoch} and {part}" if epoch else part


class Pace:
    """Says when to save a training: not too often, and so that saving takes no more than a share of the time.

    Args:
        seconds: least time between two times.
        share: largest share of the time that saving may take, after the first time.
    """

    def __init__(self, seconds: float, share: float) -> None:
        self._seconds, self._share = seconds, share
        self._last, self._pause = time.monotonic(), seconds

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._last > self._pause

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Time what saves the training, for the next time."""
        begin = time.monotonic()
        yield
        self._last = time.monotonic()
        self._pause = max(self._seconds, (self._last - begin) / self._share)
