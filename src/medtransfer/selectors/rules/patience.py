"""Stop after several checkpoints in a row without a new best score."""

from typing import ClassVar

from medtransfer.selectors.rules.contract import Parameter
from medtransfer.selectors.rules.walk import Walk


class Patience(Walk):
    """Stop at the k-th checkpoint in a row whose score is not above the highest before, and keep that last checkpoint.

    It is kept since its pretraining is paid for; with k = 1 the rule is `keep-stop`. The checkpoint of the highest score is
    among those saved.
    """

    title: ClassVar[str] = "the rule patience"
    parameter: ClassVar[Parameter] = Parameter("checkpoints without a new best", 1, True, (1, 2, 3, 4))
    amount: ClassVar[float] = 2

    def stops(self) -> bool:  # noqa: D102
        scores = self.scores
        return len(scores) - 1 - scores.index(max(scores)) >= self.amount
