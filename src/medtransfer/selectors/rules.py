"""Rules that choose a checkpoint from scores by epoch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medtransfer.metrics.transfer import require_epoch, require_finite


@dataclass(frozen=True)
class Choice:
    """A chosen checkpoint.

    Attributes:
        epoch: the chosen one.
        tied: other epochs with the very same score among those that the rule looked at.
        stopped_at: the epoch whose score did not rise and ended the online walk; None when the walk reached the last
            checkpoint, and for the other rules.
    """

    epoch: int
    tied: tuple[int, ...] = ()
    stopped_at: int | None = None


def offline(scores: Mapping[int, float]) -> Choice:
    """Choose the highest score; the earliest epoch wins a tie.

    Raises:
        ValueError: no scores, or one that is not finite.

    Source: section 4, offline.
    """
    require_finite(scores, "a score")
    best = max(scores.values())
    epoch, *tied = sorted(epoch for epoch, score in scores.items() if score == best)
    return Choice(epoch, tuple(tied))


def online(scores: Mapping[int, float]) -> Choice:
    """Walk the checkpoints after epoch 0 while the score strictly rises, and choose the last one before it does not.

    Raises:
        ValueError: no scores but that of epoch 0, or one that is not finite.

    Source: section 4, online.
    """
    require_finite(scores, "a score")
    rule = OnlineRule()
    for epoch in sorted(scores):
        if not rule.observe(epoch, scores[epoch]):
            break
    return rule.choice


def fixed(scores: Mapping[int, float], epoch: int) -> Choice:
    """Choose the named epoch.

    Raises:
        InputError: there is no such checkpoint.
    """
    require_epoch(scores, epoch, "a score")
    return Choice(epoch)


SELECTIONS: dict[str, Callable[[Mapping[int, float]], Choice]] = {"offline": offline, "online": online}


def choose_offline(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Choose offline in many draws of the scores at once.

    Args:
        scores: (..., E), epochs in ascending order.

    Returns:
        (...), the chosen places; the earliest wins a tie.
    """
    return np.argmax(scores, axis=-1)


def choose_online(scores: NDArray[np.float64], epochs: Sequence[int]) -> NDArray[np.int64]:
    """Choose online in many draws of the scores at once.

    Args:
        scores: (..., E).
        epochs: ascending; epoch 0 takes no part.

    Returns:
        (...), the chosen places.

    Raises:
        ValueError: there is no epoch but 0, or not one score for each.
    """
    if scores.shape[-1] != len(epochs):
        raise ValueError(f"expected a score for each of the epochs {list(epochs)}, but got {scores.shape[-1]}")
    first = int(0 in epochs)
    if len(epochs) <= first:
        raise ValueError("expected the score of a checkpoint after epoch 0, but got none")
    rising = np.diff(scores[..., first:], axis=-1) > 0  # (..., E - 1 or E - 2)
    return first + np.cumprod(rising, axis=-1).sum(axis=-1)


class OnlineRule:
    """The online rule for use while pretraining runs: observe every checkpoint, stop when told to."""

    def __init__(self) -> None:
        """Start before the first checkpoint."""
        self._choice: Choice | None = None
        self._score = -math.inf

    def observe(self, epoch: int, score: float) -> bool:
        """Take the score of the next checkpoint and tell whether to go on.

        Epoch 0, the random initialisation, takes no part. After the stop nothing changes the choice any more.

        Args:
            epoch: later than all before it.
            score: of that checkpoint, higher is better.

        Raises:
            ValueError: the score is not finite, or the epoch does not follow the last one kept.
        """
        require_finite({epoch: score}, "a score")
        if epoch == 0:
            return True
        if self._choice is None:
            self._choice, self._score = Choice(epoch), score
            return True
        if self._choice.stopped_at is not None:
            return False
        if epoch <= self._choice.epoch:
            raise ValueError(f"expected an epoch after {self._choice.epoch}, but got {epoch}")
        if score > self._score:
            self._choice, self._score = Choice(epoch), score
            return True
        self._choice = replace(self._choice, tied=(epoch,) if score == self._score else (), stopped_at=epoch)
        return False

    @property
    def choice(self) -> Choice:
        """The last kept checkpoint; a ValueError before the first one."""
        if self._choice is None:
            raise ValueError("expected the score of a checkpoint after epoch 0, but got none")
        return self._choice
