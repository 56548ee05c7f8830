"""Stop pretraining when an indicator on a target says so."""

from collections.abc import Callable

from medtransfer.encoders.contract import Encoder
from medtransfer.selectors.rules import FirstDrop


class Stopper:
    """Early stopping while pretraining runs: go on while an indicator on a target strictly improves (section 4)."""

    def __init__(
        self, target: str, identity: str, measure: Callable[[Encoder], float], indicator: str, higher_is_better: bool
    ) -> None:  # fmt: skip
        """Start before the first checkpoint.

        Args:
            target: its name, for messages.
            identity: digest of the target and of what the measured values depend on.
            measure: score of an encoder on it.
            indicator: its name, for messages and the curve of its values.
            higher_is_better: whether an improvement is a rise.
        """
        self.target, self.identity, self.measure, self.indicator = target, identity, measure, indicator
        self.rule = FirstDrop()
        self.going, self.seen = True, dict[int, float]()
        self._sign = 1.0 if higher_is_better else -1.0

    def observe(self, epoch: int, score: float) -> bool:
        """Take the score of a checkpoint and return whether to go on; epoch 0 takes no part."""
        self.seen[epoch] = score
        if epoch > 0:
            self.going = self.rule.observe(epoch, self._sign * score)
        return self.going

    def explain(self) -> str:
        """Say in a sentence why pretraining stopped or did not."""
        if not any(self.seen):
            return f"no checkpoint was measured on {self.target}"
        choice, way = self.rule.choice, ("rise", "rose") if self._sign > 0 else ("fall", "fell")
        kept = f"epoch {choice.candidate} ({self.indicator} {self.seen[choice.candidate]:.4f} on {self.target})"
        if choice.stopped_at is None:
            return f"the {self.indicator} on {self.target} {way[1]} to the end; the online rule keeps {kept}"
        return (
            f"stopped after epoch {choice.stopped_at}, whose {self.indicator} {self.seen[choice.stopped_at]:.4f} did not {way[0]}; "
            f"the online rule keeps {kept}"
        )
