"""Stop when the score fails to rise and the source accuracy has nearly stopped rising, too."""

from typing import ClassVar

from medtransfer.selectors.rules.contract import Parameter
from medtransfer.selectors.rules.walk import Walk


class WithAccuracy(Walk):
    """Stop at the first checkpoint whose score is not above the one before, unless the source accuracy rose by more than x.

    The last checkpoint is kept, since its pretraining is paid for.
    """

    title: ClassVar[str] = "the rule with-accuracy"
    needs: ClassVar[frozenset[str]] = frozenset({"source_accuracy"})
    parameter: ClassVar[Parameter] = Parameter("rise of the source accuracy", 0, False, (0, 0.01, 0.02, 0.05, 0.1), 1)
    amount: ClassVar[float] = 0.05

    def stops(self) -> bool:  # noqa: D102
        if self.rises:
            return False
        before, after = (observation.source_accuracy for observation in self.seen[-2:])
        assert before is not None and after is not None  # `needs` is checked
        return after - before <= self.amount
