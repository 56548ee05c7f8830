"""Choose the highest score of all candidates."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.metrics.transfer import K
from medtransfer.selectors.rules.contract import Choice, Rule, Seen, require_width


class Best(Rule[K]):
    """The highest score of all; the first candidate wins a tie. Source: section 4, offline."""

    title: ClassVar[str] = "the offline rule"

    def __init__(self) -> None:
        """Start before the first candidate."""
        self._choice: Choice[K] | None = None
        self._score = -math.inf

    def observe(self, candidate: K, seen: Seen) -> bool:  # noqa: D102
        score = self.check(candidate, seen).value
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
        require_width(scores, candidates)
        return np.argmax(scores, axis=-1)
