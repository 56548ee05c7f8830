"""Validation during training: the curve of the primary metric, the best weights by it, and when to stop."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from medtransfer.records import read_tensors, write_tensors

RECORDED = BEST_EPOCH, TRAINED_EPOCHS = "best_epoch", "trained_epochs"  # metrics


class BestWeights:
    """Keeps the weights of the epoch with the highest validation metric; the earliest wins a tie."""

    def __init__(self, file: Path, earlier: Sequence[float]) -> None:
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
    """Computes the primary metric of the validation samples, if there are any, every few epochs.

    All that it decides follows from the curve, so a resumed training stops and chooses as an uninterrupted one.
    """

    def __init__(
        self, curve: str, measure: Callable[[], float] | None, model: nn.Module, *, epochs: int, every: int,
        patience: int | None, best: Path | None, earlier: Sequence[float | None],
    ) -> None:  # fmt: skip
        """Set up the validation.

        Args:
            curve: name of the metric's curve.
            measure: evaluates the model; None if the target has no validation samples.
            model: the trained model.
            epochs: epochs of the whole training; the last is always measured.
            every: epochs from one measurement to the next.
            patience: epochs without a better value after which the training stops; None: never.
            best: file that keeps the best weights; None to keep the last.
            earlier: the curve before an interruption, by epoch; None where there was no measurement.
        """
        self.curve, self.measure, self.model = curve, measure, model
        self.epochs, self.every, self.patience = epochs, every, patience
        self.seen = {epoch: value for epoch, value in enumerate(earlier, start=1) if value is not None}
        self.best = BestWeights(best, list(self.seen.values())) if best else None

    def values(self, epoch: int) -> dict[str, float]:
        """Evaluate the model after an epoch, if it is that epoch's turn."""
        if self.measure is None or (epoch % self.every and epoch != self.epochs):
            return {}
        value = self.seen[epoch] = self.measure()
        if self.best:
            self.best.observe(value, self.model)
        return {self.curve: value}

    @property
    def best_epoch(self) -> int | None:
        """The earliest epoch of the highest value; None before the first measurement."""
        return max(self.seen, key=lambda epoch: (self.seen[epoch], -epoch), default=None)

    def stops(self) -> bool:
        """Whether the best value is `patience` epochs old."""
        best = self.best_epoch
        return self.patience is not None and best is not None and max(self.seen) - best >= self.patience

    def record(self, last: int) -> dict[str, float]:
        """Return the epoch of the best value, and the last epoch where that is not given; empty where nothing depends on them.

        Args:
            last: the last epoch that was trained.
        """
        if self.best_epoch is None or (self.best is None and self.patience is None):
            return {}
        trained = {} if self.patience is None else {TRAINED_EPOCHS: float(last)}
        return {BEST_EPOCH: float(self.best_epoch), **trained}

    def restore(self) -> None:
        """Load the best weights, if they were kept."""
        if self.best:
            self.best.restore(self.model)
