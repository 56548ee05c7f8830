"""Validation during training: the curve of the primary metric, and the best weights by it."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from medtransfer.records import read_tensors, write_tensors


class BestWeights:
    """Keeps the weights of the epoch with the highest validation metric; the earliest wins a tie."""

    def __init__(self, file: Path, earlier: list[float]) -> None:
        """Start, or resume after an interruption.

        Args:
            file: file of the best weights; the caller removes it once the result is written.
            earlier: validation metrics of the epochs before the interruption.
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
    """Computes the primary metric of the validation samples, if there are any, after each epoch."""

    def __init__(self, curve: str, measure: Callable[[], float] | None, best: BestWeights | None, model: nn.Module) -> None:
        """Set up the validation.

        Args:
            curve: name of the metric's curve.
            measure: evaluates the model; None if the target has no validation samples.
            best: keeps the best weights; None to keep the last.
            model: the trained model.
        """
        self.curve, self.measure, self.best, self.model = curve, measure, best, model

    def values(self) -> dict[str, float]:
        """Evaluate the model in its current state."""
        if self.measure is None:
            return {}
        value = self.measure()
        if self.best:
            self.best.observe(value, self.model)
        return {self.curve: value}

    def restore(self) -> None:
        """Load the best weights, if they were kept."""
        if self.best:
            self.best.restore(self.model)
