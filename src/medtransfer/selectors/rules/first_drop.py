"""Stop when the score first fails to rise: the paper's online rule, and the same with the checkpoint of the stop kept."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.selectors.rules.contract import require_width
from medtransfer.selectors.rules.walk import Walk


class FirstDrop(Walk):
    """Stop when the score first fails to rise strictly, and keep the checkpoint before. Source: section 4, online."""

    title: ClassVar[str] = "the online rule"

    def stops(self) -> bool:  # noqa: D102
        return not self.rises

    def keeps(self) -> int:  # noqa: D102
        return len(self.seen) - (1 if self.rises else 2)

    @classmethod
    def choose_many(cls, scores: NDArray[np.float64], candidates: Sequence[int]) -> NDArray[np.int64]:  # noqa: D102
        require_width(scores, candidates)
        first = int(0 in candidates)
        if len(candidates) <= first:
            raise ValueError("expected the score of a checkpoint after epoch 0, but got none")
        rises = np.diff(scores[..., first:], axis=-1) > 0  # (..., C - 1 or C - 2)
        return first + np.cumprod(rises, axis=-1).sum(axis=-1)


class KeepStop(FirstDrop):
    """Stop like `FirstDrop`, but keep the checkpoint of the stop, whose pretraining is already paid for."""

    title: ClassVar[str] = "the rule keep-stop"

    def keeps(self) -> int:  # noqa: D102
        return len(self.seen) - 1

    @classmethod
    def choose_many(cls, scores: NDArray[np.float64], candidates: Sequence[int]) -> NDArray[np.int64]:  # noqa: D102
        return np.minimum(super().choose_many(scores, candidates) + 1, len(candidates) - 1)
