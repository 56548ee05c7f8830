"""Score a model in the middle of its training, and pass the score to a stopping rule."""

import operator
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from medtransfer.errors import InputError
from medtransfer.selectors.rules import Seen
from medtransfer.selectors.stopping_rule import StoppingRule


class Watch:
    """What the callbacks share: which epochs are scored, by what function, and the rule that observes the scores.

    Attributes:
        rule: the stopping rule.
    """

    def __init__(
        self, score: Callable[[Any], Seen], rule: str, epochs: Collection[int] | None, higher_is_better: bool
    ) -> None:  # fmt: skip
        """Start before the first epoch.

        Args:
            score: of a model, which is in eval mode, without gradients; a number or what `StoppingRule.update` takes.
            rule: name of the stopping rule.
            epochs: finished epochs after which to score; None for each.
            higher_is_better: whether an improvement of the score is a rise.

        Raises:
            InputError: there is no such rule, or an epoch is no whole number of at least 1.
        """
        try:
            chosen = None if epochs is None else frozenset(map(operator.index, epochs))
        except TypeError:
            chosen = frozenset()
        if chosen is not None and (not chosen or min(chosen) < 1):
            raise InputError(f"expected epochs as whole numbers of at least 1 to score at, but got {epochs!r}")
        self.score, self.rule = score, StoppingRule(rule, higher_is_better=higher_is_better)
        self.epochs = chosen

    def due(self, epoch: int) -> bool:
        """Return whether to score after an epoch."""
        return self.rule.stopped_at is None and (self.epochs is None or epoch in self.epochs)

    def measure(self, model: nn.Module) -> Seen:
        """Return the score of a model; its modes and torch's random numbers are afterwards as before."""
        modes = [(module, module.training) for module in model.modules()]
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad():
                return self.score(model.eval())
        finally:
            for module, training in modes:
                module.training = training
