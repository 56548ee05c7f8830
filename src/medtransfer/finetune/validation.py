"""Validation while a model is trained: the curve of the primary metric, and the choice of weights by it."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from medtransfer.records import read_tensors, write_tensors


class BestWeights:
    """Keeps the weights of the epoch with the highest validation metric; the earliest wins a tie."""

    def __init__(self, file: Path, earlier: list[float]) -> None:
        """Start, or resume after an interruption.

        Args:
            file: where the weights are kept meanwhile; the caller removes it once the result is written.
            earlier: values of the epochs before the interruption.
        """
        self.file = file
        self.value = max(earlier, default=float("-inf"))

    def observe(self, value: float, model: nn.Module) -> None:
        """Keep the weights if they are the best so far."""
        if value > self.value:
            self.value = value
            write_tensors(self.file, model.state_dict())

    def restore(self, model: nn.Module) -> None:
        """Load the best weights."""
        model.load_state_dict(read_tensors(self.file))


class Validation:
    """The primary metric of the validation samples after each epoch; without such samples there is none."""

    def __init__(self, curve: str, measure: Callable[[], float] | None, best: BestWeights | None, model: nn.Module) -> None:
        """Take what a validation needs.

        Args:
            curve: name of the metric's curve.
            measure: evaluates the model; None where the target has no validation samples.
            best: keeps the best weights; None where the last ones count.
            model: that is trained.
        """
        self.curve, self.measure, self.best, self.model = curve, measure, best, model

    def values(self) -> dict[str, float]:
        """Evaluate the model as it is now."""
        if self.measure is None:
            return {}
        value = self.measure()
        if self.best:
            self.best.observe(value, self.model)
        return {self.curve: value}

    def restore(self) -> None:
        """Load the best weights where they count."""
        if self.best:
            self.best.restore(self.model)
