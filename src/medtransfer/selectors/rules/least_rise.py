"""Stop when the score rises by less than its noise."""

from typing import ClassVar

from medtransfer.selectors.rules.contract import Parameter
from medtransfer.selectors.rules.observation import rise
from medtransfer.selectors.rules.walk import Walk


class LeastRise(Walk):
    """Stop at the first checkpoint whose score is not above the one before by z standard errors of the difference; keep it.

    The error is paired where the scores have replicates over the same blocks of images. The last checkpoint is kept, since
    the scores do not say that the one before is better, and its pretraining is paid for.
    """

    title: ClassVar[str] = "the rule least-rise"
    needs: ClassVar[frozenset[str]] = frozenset({"error"})
    parameter: ClassVar[Parameter] = Parameter("standard errors of the rise", 0, False, (0, 1, 2, 4, 8))
    amount: ClassVar[float] = 1

    def stops(self) -> bool:  # noqa: D102
        if len(self.seen) < 2:
            return False
        gain, error = rise(*self.seen[-2:])
        return gain <= self.amount * error
