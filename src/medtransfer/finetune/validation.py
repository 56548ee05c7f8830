"""Validation during training: curves, the best weights by one of them, when to lower the learning rate, and when to stop."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from medtransfer.metrics.ties import rounded
from medtransfer.records import read_tensors, write_tensors
from medtransfer.training.schedules import plateau

RECORDED = BEST_EPOCH, TRAINED_EPOCHS = "best_epoch", "trained_epochs"  # metrics
LOSS_CURVE = "validation_loss"


class BestWeights:
    """Keeps the weights of the epoch with the highest value; the earliest wins a tie, see `rounded`."""

    def __init__(self, file: Path, earlier: Sequence[float]) -> None:
        """Start, or resume after an interruption.

        Args:
            file: file of the best weights; the caller removes it once the result is written.
            earlier: values of the epochs before the interruption.
        """
        self.file = file
        self.value = max(map(rounded, earlier), default=float("-inf"))

    def observe(self, value: float, model: nn.Module) -> None:
        """Keep the weights if they are the best so far."""
        if rounded(value) > self.value:
            self.value = rounded(value)
            write_tensors(self.file, model.state_dict())

    def restore(self, model: nn.Module) -> None:
        """Load the best weights."""
        model.load_state_dict(read_tensors(self.file))


class Validation:
    """Evaluates on the validation samples, if there are any, every few epochs, and monitors one curve.

    All that it decides follows from the curve, so a resumed training stops and chooses as an uninterrupted one.
    """

    def __init__(
        self, monitored: str, measure: Callable[[], Mapping[str, float]] | None, model: nn.Module, *, epochs: int, every: int,
        patience: int | None, best: Path | None, earlier: Sequence[float | None],
    ) -> None:  # fmt: skip
        """Set up the validation.

        Args:
            monitored: name of the monitored curve; of LOSS_CURVE the lowest value is the best, of others the highest.
            measure: returns values by curve; None if the target has no validation samples.
            model: the trained model.
            epochs: epochs of the whole training; the last is always measured.
            every: epochs from one measurement to the next.
            patience: epochs without a better value after which the training stops; None: never.
            best: file that keeps the best weights; None to keep the last.
            earlier: the monitored curve before an interruption, by epoch; None where there was no measurement.
        """
        self.monitored, self.measure, self.model = monitored, measure, model
        self.sign = -1.0 if monitored == LOSS_CURVE else 1.0
        self.epochs, self.every, self.patience = epochs, every, patience
        self.seen = {epoch: value for epoch, value in enumerate(earlier, start=1) if value is not None}
        self.best = BestWeights(best, [self.sign * value for value in self.seen.values()]) if best else None

    def values(self, epoch: int) -> dict[str, float]:
        """Evaluate the model after an epoch, if it is that epoch's turn."""
        if self.measure is None or (epoch % self.every and epoch != self.epochs):
            return {}
        values = dict(self.measure())
        self.seen[epoch] = values[self.monitored]
        if self.best:
            self.best.observe(self.sign * self.seen[epoch], self.model)
        return values

    @property
    def best_epoch(self) -> int | None:
        """The earliest epoch of the best value; None before the first measurement."""
        return max(self.seen, key=lambda epoch: (self.sign * rounded(self.seen[epoch]), -epoch), default=None)

    def stops(self) -> bool:
        """Whether the best value is `patience` epochs old."""
        best = self.best_epoch
        return self.patience is not None and best is not None and max(self.seen) - best >= self.patience

    def rate(self, factor: float, patience: int) -> float:
        """Return what the schedule `plateau` makes of the learning rate of the next epoch; arguments as those of `plateau`."""
        return plateau(self.seen, lower_is_better=self.sign < 0, factor=factor, patience=patience)

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
