"""What a rule is: it observes candidates one by one, may stop, and names its choice."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self

import numpy as np
from numpy.typing import NDArray

from medtransfer.metrics.transfer import K, named, require_finite
from medtransfer.records import Score
from medtransfer.selectors.rules.observation import Observation

Seen = float | Mapping[str, Any] | Score | Observation


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


@dataclass(frozen=True)
class Parameter:
    """The number that a rule can be given behind its name, as in `patience-3`.

    Attributes:
        meaning: what it is, within a sentence.
        least: lowest value.
        whole: whether it must be a whole number.
        tried: values among which a comparison of rules chooses.
        most: highest value.
    """

    meaning: str
    least: float
    whole: bool
    tried: tuple[float, ...]
    most: float = math.inf

    @property
    def kind(self) -> str:
        """Return what values are possible, within a sentence."""
        most = f" and at most {self.most:g}" if self.most < math.inf else ""
        return f"a {'whole ' if self.whole else ''}number of at least {self.least:g}{most}"

    def accepts(self, value: float) -> bool:
        """Return whether a value is possible."""
        return np.isfinite(value) and self.least <= value <= self.most and not (self.whole and value % 1)


class Rule(ABC, Generic[K]):
    """Observes candidates one by one and decides when to stop.

    Subclasses define `title`, `observe` and `choice`; the rest is derived from them. `choose_many` may be overridden by a
    vectorised form that gives the same choices.
    """

    title: ClassVar[str]  # within a sentence
    needs_epochs: ClassVar[bool] = False  # whether the order of the candidates has a meaning, so that it can stop
    needs: ClassVar[frozenset[str]] = frozenset()  # of Observation besides the score: `error`, `source_accuracy`
    parameter: ClassVar[Parameter | None] = None
    amount: ClassVar[float]  # value of the parameter

    @abstractmethod
    def observe(self, candidate: K, seen: Seen) -> bool:
        """Observe the next candidate; return False to stop.

        Observations after the stop do not change the choice.

        Args:
            candidate: its key.
            seen: its score, higher is better, alone or with what else is known.

        Raises:
            ValueError: a number is not finite, or one that the rule needs is missing.
        """

    @property
    @abstractmethod
    def choice(self) -> Choice[K]:
        """Choice among the candidates observed so far.

        Raises:
            ValueError: there are none.
        """

    @classmethod
    def at(cls, value: float, name: str) -> type[Self]:
        """Return the rule with another value of its parameter, under the name that `title` shall show."""
        return type(cls.__name__, (cls,), {"amount": value, "title": f"the rule {name}", "__doc__": cls.__doc__})

    @classmethod
    def choose(cls, scores: Mapping[K, Seen]) -> Choice[K]:
        """Choose from stored scores, observed in the order of their keys.

        Raises:
            ValueError: there are no scores to choose from, one is not finite, or what the rule needs is missing.
        """
        observations = {candidate: Observation.of(seen) for candidate, seen in scores.items()}
        require_finite({candidate: seen.value for candidate, seen in observations.items()}, "a score")
        rule = cls()
        for candidate in sorted(observations):
            if not rule.observe(candidate, observations[candidate]):
                break
        return rule.choice

    @classmethod
    def choose_many(cls, scores: NDArray[np.float64], candidates: Sequence[K]) -> NDArray[np.int64]:
        """Choose in many draws of the scores, by a rule that needs nothing else.

        Args:
            scores: (..., C).
            candidates: the C keys, ascending.

        Returns:
            (...), indices into `candidates`.

        Raises:
            ValueError: the number of scores is not C, there is nothing to choose from, or the rule needs more than scores.
        """
        require_width(scores, candidates)
        rows = scores.reshape(-1, len(candidates))
        chosen = [candidates.index(cls.choose(dict(zip(candidates, row.tolist(), strict=True))).candidate) for row in rows]
        return np.array(chosen, dtype=np.int64).reshape(scores.shape[:-1])

    def check(self, candidate: K, seen: Seen) -> Observation:
        """Return the observation of a candidate.

        Raises:
            ValueError: a number is not finite, or one that the rule needs is missing.
        """
        observation = Observation.of(seen)
        observation.check(named(candidate))
        for need in sorted(self.needs):
            if getattr(observation, need) is None and not (need == "error" and observation.replicates):
                raise ValueError(f"expected the {need.replace('_', ' ')} of {named(candidate)} for {self.title}, but got none")
        return observation


def require_width(scores: NDArray[np.float64], candidates: Sequence[Any]) -> None:
    """Raise ValueError unless there is one score for each of at least one candidate."""
    if not candidates or scores.shape[-1] != len(candidates):
        raise ValueError(f"expected one score for each of {list(candidates)}, but got {scores.shape[-1]}")
