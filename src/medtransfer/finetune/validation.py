"""Validation samples go in; a curve of their Dice and, when asked for, the best epoch's weights come out."""

from pathlib import Path

from torch import nn

from medtransfer.records import read_tensors, write_tensors


class BestWeights:
    """Keeps the weights of the epoch with the highest validation Dice; the earliest wins a tie."""

    def __init__(self, file: Path, earlier: list[float]) -> None:
        """Start, or go on after an interruption.

        Args:
            file: where the weights are kept meanwhile; the caller removes it once the result is written.
            earlier: validation Dice of the epochs before the interruption.
        """
        self.file = file
        self.dice = max(earlier, default=-1.0)

    def observe(self, dice: float, model: nn.Module) -> None:
        """Keep the weights if they are the best so far."""
        if dice > self.dice:
            self.dice = dice
            write_tensors(self.file, model.state_dict())

    def restore(self, model: nn.Module) -> None:
        """Put the best weights back."""
        model.load_state_dict(read_tensors(self.file))
