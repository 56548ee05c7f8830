"""Stop when a moving average of the score first fails to rise."""

from typing import ClassVar

import numpy as np

from medtransfer.selectors.rules.contract import Parameter
from medtransfer.selectors.rules.walk import Walk


class Smoothed(Walk):
    """Stop when the mean of the last k scores, or of all if there are fewer, is not above the mean before; keep the last.

    The last checkpoint is kept, since an average belongs to no single one, and its pretraining is paid for.
    """

    title: ClassVar[str] = "the rule smoothed"
    parameter: ClassVar[Parameter] = Parameter("checkpoints that the score is averaged over", 1, True, (1, 2, 3, 4))
    amount: ClassVar[float] = 2

    def stops(self) -> bool:  # noqa: D102
        window, scores = int(self.amount), self.scores
        return len(scores) > 1 and bool(np.mean(scores[-window:]) <= np.mean(scores[:-1][-window:]))
