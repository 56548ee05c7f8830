"""Rules that choose a candidate by its score, during a pretraining or from stored scores.

To add one, write a class and add one line to `RULES`; the tests cover every entry.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic

import numpy as np
from numpy.typing import NDArray

from medtransfer.errors import InputError
from medtransfer.metrics.transfer import K, require_finite


@dataclass(frozen=True)
class Choice(Generic[K]):
    """A chosen candidate.

    Attributes:
        candidate: its key, an epoch in a series; None for a uniform draw from all candidates.
        tied: other observed candidates with the same score.
        stopped_at: epoch at which the rule stopped; None if it observed every candidate.
    """

    candidate: K
    tied: tuple[K, ...] = ()
    stopped_at: K | None = None


class Rule(ABC, Generic[K]):
    """Observes scores one by one and decides when to stop.

    Subclasses define `title`, `observe` and `choice`; the rest is derived from them. `choose_many` may be overridden by a
    vectorised form that gives the same choices.
    """

    title: ClassVar[str]  # within a sentence
    needs_epochs: ClassVar[bool] = False  # whether the order of the candidates has a meaning, so that it can stop

    @abstractmethod
    def observe(self, candidate: K, score: float) -> bool:
        """Observe the score of the next candidate, higher is better; return False to stop.

        Scores after the stop do not change the choice.

        Raises:
            ValueError: the score is not finite.
        """

    @property
    @abstractmethod
    def choice(self) -> Choice[K]:
        """Choice among the candidates observed so far.

        Raises:
            ValueError: there are none.
        """

    @classmethod
    def choose(cls, scores: Mapping[K, float]) -> Choice[K]:
        """Choose from stored scores, observed in the order of their keys.

        Raises:
            ValueError: there are no scores to choose from, or one is not finite.
        """
        require_finite(scores, "a score")
        rule = cls()
        for candidate in sorted(scores):
            if not rule.observe(candidate, scores[candidate]):
                break
        return rule.choice

    @classmethod
    def choose_many(cls, scores: NDArray[np.float64], candidates: Sequence[K]) -> NDArray[np.int64]:
        """Choose in many draws of the scores.

        Args:
            scores: (..., C).
            candidates: the C keys, ascending.

        Returns:
            (...), indices into `candidates`.

        Raises:
            ValueError: the number of scores is not C, or there is nothing to choose from.
        """
        _require_width(scores, candidates)
        rows = scores.reshape(-1, len(candidates))
        chosen = [candidates.index(cls.choose(dict(zip(candidates, row.tolist(), strict=True))).candidate) for row in rows]
        return np.array(chosen, dtype=np.int64).reshape(scores.shape[:-1])


class Best(Rule[K]):
    """The highest score of all; the first candidate wins a tie. Source: section 4, offline."""

    title: ClassVar[str] = "the offline rule"

    def __init__(self) -> None:
        """Start before the first candidate."""
        self._choice: Choice[K] | None = None
        self._score = -math.inf

    def observe(self, candidate: K, score: float) -> bool:  # noqa: D102
        require_finite({candidate: score}, "a score")
        if self._choice is None or score > self._score:
            self._choice, self._score = Choice(candidate), score
        elif score == self._score:
            self._choice = replace(self._choice, tied=(*self._choice.tied, candidate))
        return True

    @property
    def choice(self) -> Choice[K]:  # noqa: D102
        if self._choice is None:
            raise ValueError("expected the score of a candidate, but got none")
        return self._choice

    @classmethod
    def choose_many(cls, scores: NDArray[np.float64], candidates: Sequence[K]) -> NDArray[np.int64]:  # noqa: D102
        _require_width(scores, candidates)
        return np.argmax(scores, axis=-1)


class FirstDrop(Rule[int]):
    """Stop when the score first fails to rise strictly, and keep the checkpoint before. Source: section 4, online.

    Epoch 0, the random initialisation, is ignored.
    """

    title: ClassVar[str] = "the online rule"
    needs_epochs: ClassVar[bool] = True

    def __init__(self) -> None:
        """Start before the first checkpoint."""
        self._walk: Choice[int] | None = None
        self._score = -math.inf

    def observe(self, candidate: int, score: float) -> bool:  # noqa: D102
        require_finite({candidate: score}, "a score")
        if candidate == 0:
            return True
        if self._walk is None:
            self._walk, self._score = Choice(candidate), score
            return True
        if self._walk.stopped_at is not None:
            return False
        if candidate <= self._walk.candidate:
            raise ValueError(f"expected an epoch after {self._walk.candidate}, but got {candidate}")
        if score > self._score:
            self._walk, self._score = Choice(candidate), score
            return True
        self._walk = replace(self._walk, tied=(candidate,) if score == self._score else (), stopped_at=candidate)
        return False

    @property
    def choice(self) -> Choice[int]:  # noqa: D102
        if self._walk is None:
            raise ValueError("expected the score of a checkpoint after epoch 0, but got none")
        return self._walk

    @classmethod
    def choose_many(cls, scores: NDArray[np.float64], candidates: Sequence[int]) -> NDArray[np.int64]:  # noqa: D102
        _require_width(scores, candidates)
        first = int(0 in candidates)
        if len(candidates) <= first:
            raise ValueError("expected the score of a checkpoint after epoch 0, but got none")
        rises = np.diff(scores[..., first:], axis=-1) > 0  # (..., C - 1 or C - 2)
        return first + np.cumprod(rises, axis=-1).sum(axis=-1)


class KeepStop(FirstDrop):
    """Stop like `FirstDrop`, but keep the checkpoint of the stop, whose pretraining is already paid for."""

    title: ClassVar[str] = "the rule keep-stop"

    @property
    def choice(self) -> Choice[int]:  # noqa: D102
        walk = super().choice
        if walk.stopped_at is None:
            return walk
        return Choice(walk.stopped_at, (walk.candidate,) if walk.tied else (), walk.stopped_at)

    @classmethod
    def choose_many(cls, scores: NDArray[np.float64], candidates: Sequence[int]) -> NDArray[np.int64]:  # noqa: D102
        return np.minimum(super().choose_many(scores, candidates) + 1, len(candidates) - 1)


RULES: dict[str, type[Rule[Any]]] = {
    "best": Best,
    "first-drop": FirstDrop,
    "keep-stop": KeepStop,
}


def find_stopping_rule(name: str, key: str) -> type[Rule[int]]:
    """Return the rule of a name, one that can stop a pretraining.

    Args:
        name: a key of RULES.
        key: of params.yaml that names it, for the message.

    Raises:
        InputError: there is no such rule, or it observes every candidate.
    """
    known = {known: rule for known, rule in RULES.items() if rule.needs_epochs}
    if name not in known:
        raise InputError(f"expected {key} out of {', '.join(known)}, but got {name!r}")
    return known[name]


def _require_width(scores: NDArray[np.float64], candidates: Sequence[Any]) -> None:
    if not candidates or scores.shape[-1] != len(candidates):
        raise ValueError(f"expected one score for each of {list(candidates)}, but got {scores.shape[-1]}")
