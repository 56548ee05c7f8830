"""What short fine-tunings say about checkpoints against no pretraining: better, worse or undecided."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from medtransfer.metrics.paired_difference import Interval, PairedDifference, paired_difference
from medtransfer.metrics.ties import rounded
from medtransfer.selectors.none_is_best import Compared
from medtransfer.tasks.contract import Metric
from medtransfer.tryouts.scores import Scores

TIE = 1e-12  # differences up to this are rounding of equal values


@dataclass(frozen=True)
class Guard:
    """Short fine-tunings from the random initialisation and from checkpoints, on the same patients, with the same seeds.

    Attributes:
        target: name of the target.
        encoder: encoder of the checkpoints.
        origin: their origin.
        mode: mode of transfer.
        metric: metric of the scores.
        epochs: the checkpoints; epoch 0 is not among them.
        scores: (1 + K, S), of epoch 0 first, then of the checkpoints.
        seeds: seeds of the fine-tunings.
        train_epochs: length of their schedule.
        full_epochs: length of the schedule in the params.
        patients: number of validation patients.
        held_out: fraction of the training patients that they were drawn from; 0 if they are the target's own.
        confidence: of all intervals together.
        least: score up to which a model learned nothing.
    """

    target: str
    encoder: str
    origin: str
    mode: str
    metric: Metric
    epochs: Sequence[int]
    scores: Scores
    seeds: Sequence[int]
    train_epochs: int
    full_epochs: int
    patients: int
    held_out: float
    confidence: float
    least: float

    @cached_property
    def means(self) -> dict[int, float]:
        """Mean score over seeds by epoch, of epoch 0, too."""
        return {epoch: float(row.mean()) for epoch, row in zip((0, *self.epochs), self.scores.values, strict=True)}

    @cached_property
    def differences(self) -> dict[int, PairedDifference]:
        """Difference of each checkpoint from no pretraining."""
        values, without = (array[1:] - array[0] for array in (self.scores.values, self.scores.without))
        return {epoch: paired_difference(*both) for epoch, *both in zip(self.epochs, values, without, strict=True)}

    def interval(self, epoch: int) -> Interval:
        """Return the interval of a difference; those of all checkpoints hold together (Bonferroni).

        It ends where no difference of two values of the metric can be.
        """
        low, high = self.differences[epoch].interval(1 - (1 - self.confidence) / len(self.epochs))
        most = self.metric.high - self.metric.low
        return max(low, -most), min(high, most)

    def learned(self, epoch: int) -> bool:
        """Return whether the models of a checkpoint or those without pretraining learned anything."""
        return rounded(max(self.means[0], self.means[epoch])) > rounded(self.least)

    def compared(self, epoch: int) -> Compared:
        """Return what a checkpoint is beside no pretraining; where neither learned anything, nothing is decided."""
        low, high = self.interval(epoch)
        if not self.learned(epoch) or (low <= TIE and high >= -TIE):
            return "undecided"
        return "better" if low > TIE else "worse"

    @property
    def choice(self) -> int | None:
        """Epoch to start from: the best of those that are better, 0 if all are worse, None if that is not decided."""
        verdicts = {epoch: self.compared(epoch) for epoch in self.epochs}
        if better := [epoch for epoch in self.epochs if verdicts[epoch] == "better"]:
            return max(better, key=lambda epoch: rounded(self.means[epoch]))  # the first of equal ones
        return 0 if set(verdicts.values()) == {"worse"} else None
