"""A stopping rule for any training loop: `medtransfer.StoppingRule`."""

import operator
import reprlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from medtransfer.selectors.none_is_best import Compared, compare_with_none
from medtransfer.selectors.rules import Observation, Seen, find_stopping_rule
from medtransfer.selectors.rules.walk import Walk


class StoppingRule:
    """Says when to stop a pretraining, and which checkpoint to keep.

    ```python
    rule = StoppingRule("keep-stop")
    for epoch in range(1, 301):
        train(model)
        if rule.update(epoch, score(model)):
            break
    print(rule.choice)
    ```
    """

    def __init__(self, name: str = "first-drop", *, higher_is_better: bool = True) -> None:
        """Start before the first checkpoint.

        Args:
            name: a stopping rule of RULES, with the value of its parameter if wanted: `first-drop`, `keep-stop`,
                `patience-3`, `least-rise-2`, `smoothed-2`, `with-accuracy-0.02`.
            higher_is_better: whether an improvement of the score is a rise.

        Raises:
            InputError: there is no such rule, or its parameter cannot have the value.
        """
        find_stopping_rule(name, "the stopping rule")
        self.name, self.higher_is_better = name, higher_is_better
        self._seen: dict[int, Observation] = {}
        self._none_is_best = False

    def update(self, epoch: int, scores: Seen) -> bool:
        """Observe a checkpoint and return True to stop; what comes after a stop changes nothing.

        Args:
            epoch: finished epochs of pretraining; 0, the random initialisation, takes no part.
            scores: the score as a number, an array or tensor of one number, or as `medtransfer.robustness` returns it, or a
                mapping with `value` and, where known, `error`, `source_accuracy` and `replicates` (values without each block of
                images, for paired errors).

        Raises:
            ValueError: the epoch is no whole number of at least 0 or not above those seen before, the score is no number or not
                finite, or a number that the rule needs is missing.
        """
        epoch = _whole(epoch)
        rule, observation = self._replay(), Observation.of(scores)
        if rule.stopped_at is not None:
            return True
        proceeds = rule.observe(epoch, self._signed(observation))
        self._seen[epoch] = observation
        return not proceeds

    @property
    def stopped_at(self) -> int | None:
        """Epoch of the stop; None before it."""
        return self._replay().stopped_at

    @property
    def choice(self) -> int:
        """Epoch of the checkpoint to keep.

        Raises:
            ValueError: no checkpoint after epoch 0 was observed.
        """
        return 0 if self._none_is_best else self._replay().choice.candidate

    @property
    def seen(self) -> dict[int, Observation]:
        """Observations by epoch, up to the stop."""
        return dict(self._seen)

    def compare_with_none(self, none: Seen, pretrained: Seen, z: float = 2.0) -> Compared:
        """Compare short fine-tunings from the random initialisation and from the choice; if it is worse, choose epoch 0.

        Args:
            none: outcome from the random initialisation, with its error; higher is better.
            pretrained: outcome from the choice, with its error.
            z: standard errors of the difference that decide.

        Returns:
            What the choice is: `better`, `worse` or `undecided`.
        """
        compared = compare_with_none(none, pretrained, z)
        self._none_is_best = compared == "worse"
        return compared

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, for a checkpoint of the training; it holds numbers only, as JSON does."""
        seen = [[epoch, {**asdict(seen), "replicates": list(seen.replicates)}] for epoch, seen in self._seen.items()]
        return {"seen": seen, "none_is_best": self._none_is_best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what was observed; a rule of another name decides on it again.

        Raises:
            ValueError: it is no state of a rule, or lacks what this rule needs; the rule stays as it was.
        """
        restored = StoppingRule(self.name, higher_is_better=self.higher_is_better)
        try:
            seen, none_is_best = [(epoch, observation) for epoch, observation in state["seen"]], bool(state["none_is_best"])
        except (KeyError, TypeError, ValueError, IndexError):
            raise ValueError(
                f"expected what StoppingRule.state_dict returns, with `seen` and `none_is_best`, but got {reprlib.repr(state)}; "
                "pass the state of a rule"
            ) from None
        for epoch, observation in seen:
            restored.update(epoch, observation)
        self._seen, self._none_is_best = restored._seen, none_is_best

    def _signed(self, observation: Observation) -> Observation:
        return observation if self.higher_is_better else observation.negated()

    def _replay(self) -> Walk:
        """Return the rule after all observations; they are all that is kept, so that a copy or a resumed training agrees."""
        rule = find_stopping_rule(self.name, "the stopping rule")()
        for epoch, observation in self._seen.items():
            rule.observe(epoch, self._signed(observation))
        return rule


def _whole(epoch: Any) -> int:
    """Return the number of an epoch, which some loops count as a float, or raise ValueError."""
    try:
        whole = int(epoch) if isinstance(epoch, float) and epoch.is_integer() else operator.index(epoch)
    except TypeError:
        whole = -1
    if whole < 0:
        raise ValueError(
            f"expected the epoch as a whole number of at least 0, but got {epoch!r}; pass the number of finished epochs"
        )
    return whole
