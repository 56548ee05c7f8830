"""Early stopping of a pretraining by an indicator on a target."""

from collections.abc import Callable

from medtransfer.encoders.contract import Encoder
from medtransfer.selectors.rules import FirstDrop


class Stopper:
    """Stops a pretraining when an indicator on a target no longer strictly improves (section 4, online)."""

    def __init__(
        self, target: str, identity: str, measure: Callable[[Encoder], float], indicator: str, higher_is_better: bool
    ) -> None:  # fmt: skip
        """Start before the first checkpoint.

        Args:
            target: name of the target, for messages.
            identity: digest of everything that the scores depend on, besides the encoder.
            measure: returns the score of an encoder on the target.
            indicator: name of the indicator, for messages and the curve of its values.
            higher_is_better: whether an improvement is a rise.
        """
        self.target, self.identity, self.measure, self.indicator = target, identity, measure, indicator
        self.rule = FirstDrop()
        self.going, self.seen = True, dict[int, float]()
        self._sign = 1.0 if higher_is_better else -1.0

    def observe(self, epoch: int, score: float) -> bool:
        """Observe the score of a checkpoint and return whether to continue; epoch 0 is ignored."""
        self.seen[epoch] = score
        if epoch > 0:
            self.going = self.rule.observe(epoch, self._sign * score)
        return self.going

    def explain(self) -> str:
        """Return why the pretraining stopped or did not, as a clause."""
        if not any(self.seen):
            return f"no checkpoint was measured on {self.target}"
        choice, (infinitive, past) = self.rule.choice, ("rise", "rose") if self._sign > 0 else ("fall", "fell")
        kept = f"epoch {choice.candidate} ({self.indicator} {self.seen[choice.candidate]:.4f} on {self.target})"
        if choice.stopped_at is None:
            return f"the {self.indicator} on {self.target} {past} to the end; the online rule keeps {kept}"
        return (
            f"stopped after epoch {choice.stopped_at}, whose {self.indicator} {self.seen[choice.stopped_at]:.4f} did not "
            f"{infinitive}; the online rule keeps {kept}"
        )
