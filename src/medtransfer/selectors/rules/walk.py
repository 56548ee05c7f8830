"""Base class of the rules that stop: a walk over the checkpoints of a pretraining in the order of their epochs."""

from abc import abstractmethod
from typing import ClassVar

from medtransfer.selectors.rules.contract import Choice, Rule, Seen
from medtransfer.selectors.rules.observation import Observation


class Walk(Rule[int]):
    """A subclass says, from what has been seen so far, whether to stop and which checkpoint to keep.

    Epoch 0, the random initialisation, takes no part.

    Attributes:
        epochs: epochs seen so far, up to the stop.
        seen: their observations.
    """

    needs_epochs: ClassVar[bool] = True

    def __init__(self) -> None:
        """Start before the first checkpoint."""
        self.epochs: list[int] = []
        self.seen: list[Observation] = []
        self._stopped = False

    @abstractmethod
    def stops(self) -> bool:
        """Return whether to stop at the checkpoint that was seen last."""

    def keeps(self) -> int:
        """Return the position of the checkpoint to keep: the last one, whose pretraining is paid for, unless overridden."""
        return len(self.seen) - 1

    @property
    def scores(self) -> list[float]:
        """Scores seen so far."""
        return [observation.value for observation in self.seen]

    @property
    def rises(self) -> bool:
        """Whether the last score is above the one before; True for the first."""
        return len(self.seen) < 2 or self.seen[-1].value > self.seen[-2].value

    def observe(self, candidate: int, seen: Seen) -> bool:  # noqa: D102
        observation = self.check(candidate, seen)
        if candidate == 0:
            return True
        if self._stopped:
            return False
        if self.epochs and candidate <= self.epochs[-1]:
            raise ValueError(f"expected an epoch after {self.epochs[-1]}, but got {candidate}")
        self.epochs.append(candidate)
        self.seen.append(observation)
        self._stopped = self.stops()
        return not self._stopped

    @property
    def stopped_at(self) -> int | None:
        """Epoch of the stop; None before it."""
        return self.epochs[-1] if self._stopped else None

    @property
    def choice(self) -> Choice[int]:  # noqa: D102
        if not self.seen:
            raise ValueError("expected the score of a checkpoint after epoch 0, but got none")
        kept, scores = self.keeps(), self.scores
        tied = tuple(e for i, e in enumerate(self.epochs) if i != kept and scores[i] == scores[kept])
        return Choice(self.epochs[kept], tied, self.stopped_at)
