"""Early stopping of a pretraining by an indicator on a target."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from medtransfer.selectors.rules import Observation, Rule, Seen

if TYPE_CHECKING:
    from medtransfer.encoders.contract import Encoder
    from medtransfer.encoders.source_head import NoHead, SourceHead


class Stopper:
    """Early stopping while pretraining runs: a rule observes an indicator on a target at every checkpoint."""

    def __init__(
        self, target: str, identity: str, measure: "Callable[[Encoder, Mapping[str, Any], SourceHead | NoHead], Seen]",
        indicator: str,
        higher_is_better: bool, rule: type[Rule[int]],
    ) -> None:  # fmt: skip
        """Start before the first checkpoint.

        Args:
            target: its name, for messages.
            identity: digest of the target, of what the measured values depend on, and of the rule.
            measure: score of an encoder with its input contract and source head on it, alone or with its error.
            indicator: its name, for messages and the curve of its values.
            higher_is_better: whether an improvement is a rise.
            rule: says when to stop and which checkpoint to keep.
        """
        self.target, self.identity, self.measure, self.indicator = target, identity, measure, indicator
        self.rule = rule()
        self.going, self.seen = True, dict[int, float]()
        self._sign = 1.0 if higher_is_better else -1.0

    def observe(self, epoch: int, seen: Seen, source_accuracy: float | None = None) -> bool:
        """Observe a checkpoint and return whether to continue; epoch 0 takes no part."""
        observation = replace(Observation.of(seen), source_accuracy=source_accuracy)
        self.seen[epoch] = observation.value
        self.going = self.rule.observe(epoch, observation if self._sign > 0 else observation.negated())
        return self.going

    @property
    def kept(self) -> int | None:
        """Epoch that the rule keeps; None if no checkpoint after epoch 0 was measured."""
        return self.rule.choice.candidate if any(self.seen) else None

    def explain(self) -> str:
        """Return why the pretraining stopped or did not, as a clause."""
        if not any(self.seen):
            return f"no checkpoint was measured on {self.target}"
        choice, name = self.rule.choice, self.indicator
        rise, rose = ("rise", "rose") if self._sign > 0 else ("fall", "fell")
        kept = f"{self.rule.title} keeps epoch {choice.candidate} ({name} {self.seen[choice.candidate]:.4f} on {self.target})"
        scores = [self._sign * score for epoch, score in self.seen.items() if epoch > 0]
        rises = [later > earlier for earlier, later in pairwise(scores)]
        if choice.stopped_at is None:
            way = f"{rose} to the end" if all(rises) else "stopped nothing"
            return f"the {name} on {self.target} {way}; {kept}"
        stop = f"stopped after epoch {choice.stopped_at}"
        last = f"{name} {self.seen[choice.stopped_at]:.4f}"
        *earlier, stopped_at = (epoch for epoch in self.seen if 0 < epoch <= choice.stopped_at)
        best = max(earlier, key=lambda epoch: self._sign * self.seen[epoch], default=stopped_at)
        if best == stopped_at or self._sign * self.seen[stopped_at] > self._sign * self.seen[best]:
            return f"{stop} ({last}); {kept}"
        side = "above" if rise == "rise" else "below"
        above = "" if best == earlier[-1] else f" {side} the {self.seen[best]:.4f} of epoch {best}"
        return f"{stop}, whose {last} did not {rise}{above}; {kept}"
