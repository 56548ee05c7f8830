"""A prepared target and the default robustness setting go in; the online rule says when pretraining should stop."""

from collections.abc import Callable

from medtransfer.encoders.contract import Encoder
from medtransfer.selectors.rules import FirstDrop


class Stopper:
    """The paper's online early stopping (section 4): go on while the target's robustness strictly rises."""

    def __init__(self, target: str, identity: str, measure: Callable[[Encoder], float]) -> None:
        """Take the target.

        Args:
            target: its name, for messages.
            identity: digest of the target and the robustness setting.
            measure: robustness of an encoder on it.
        """
        self.target, self.identity, self.measure = target, identity, measure
        self.rule = FirstDrop()
        self.going, self.seen = True, dict[int, float]()

    def observe(self, epoch: int, robustness: float) -> bool:
        """Take the robustness of a checkpoint and tell whether to go on; epoch 0 takes no part."""
        self.seen[epoch] = robustness
        if epoch > 0:
            self.going = self.rule.observe(epoch, robustness)
        return self.going

    def explain(self) -> str:
        """Say in a sentence why pretraining stopped or did not."""
        if not any(self.seen):
            return f"no checkpoint was measured on {self.target}"
        choice = self.rule.choice
        kept = f"epoch {choice.candidate} (robustness {self.seen[choice.candidate]:.4f} on {self.target})"
        if choice.stopped_at is None:
            return f"the robustness on {self.target} rose to the end; the online rule keeps {kept}"
        return (
            f"stopped after epoch {choice.stopped_at}, whose robustness {self.seen[choice.stopped_at]:.4f} did not rise; the "
            f"online rule keeps {kept}"
        )
