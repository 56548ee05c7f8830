"""Record of a candidate in a ranking: how its weights were loaded, what it was measured on, and its scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from medtransfer.records.base import RANKED, Count, Record, Share
from medtransfer.records.checkpoint import Contract, Levels
from medtransfer.records.scores import Rows, Score

Amount = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class RankedCandidate(Record):
    """Contents of `<candidate>.json` of a ranking.

    Attributes:
        name: name in the ranking.
        kind: kind of candidate, such as `timm`.
        build: key of ENCODERS.
        arguments: constructor arguments.
        weights: digest of the weights.
        audit: how the weights were loaded, one sentence.
        input: input contract of the weights: size (pixels), mean and std per channel in [0, 1] units, channel order.
        levels: [stride, channels] of each map, from finest to coarsest.
        level: level that was ranked, counted from the end.
        series: folder of the pretraining that it is a checkpoint of; empty for others.
        source: name of the source dataset of a checkpoint; empty for others.
        epoch: epoch of a checkpoint, else None.
        source_accuracy: validation accuracy on the source, or AUC, None if unknown.
        cell: digest of everything that the scores depend on, and of their names.
        images: images that it was measured on.
        groups: groups of these images, such as patients.
        rows: one `Score` per indicator, at the setting of the mode of transfer.
        notes: remarks for the reader, by indicator.
        seconds: time of the pass and of all indicators; of all passes if some were measured later.
        forward_seconds: the part of it that the encoder took.
        memory: peak memory of the process, or of the GPU, in MiB, in the pass that took most.
        continues: whether it is a checkpoint of a pretraining that continues from other weights, which are its epoch 0.
        source_metric: what `source_accuracy` is, `accuracy` or `AUC`.
    """

    name: str
    kind: str
    build: str
    arguments: dict[str, Any]
    weights: str
    audit: str
    input: Contract
    levels: Levels
    level: int
    series: str
    source: str
    epoch: Count | None
    source_accuracy: Share | None
    cell: str
    images: Count
    groups: Count
    rows: Rows
    notes: dict[str, list[str]]
    seconds: Amount
    forward_seconds: Amount
    memory: Amount
    continues: bool = False
    source_metric: str = "accuracy"

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return RANKED

    @classmethod
    def added(cls) -> frozenset[str]:
        """Return the fields that older files lack."""
        return frozenset({"continues", "source_metric"})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate the record, with `rows` as `Score` objects."""
        record = super().read(path)
        return replace(record, rows=[Score(**row) for row in record.rows])

    @property
    def source_text(self) -> float | str | None:
        """The source accuracy for people; an AUC has its name beside it, since it compares with no accuracy."""
        if self.source_accuracy is None or self.source_metric == "accuracy":
            return self.source_accuracy
        return f"{self.source_metric} {self.source_accuracy:.3f}"

    @property
    def indicators(self) -> list[str]:
        """Names of the measured indicators."""
        return [row.indicator for row in self.rows]

    def only(self, indicators: Sequence[str]) -> Self:
        """Return the record with the scores of some of its indicators, in their order; cell and costs stay those of all."""
        rows = {row.indicator: row for row in self.rows}
        notes = {name: notes for name, notes in self.notes.items() if name in indicators}
        return replace(self, rows=[rows[name] for name in indicators], notes=notes)

    def extended(self, later: Self) -> Self:
        """Return the record that a later pass makes of this one, by other indicators of the same weights, images and settings."""
        return replace(
            later, rows=[*self.rows, *later.rows], notes=self.notes | later.notes, seconds=round(self.seconds + later.seconds, 3),
            forward_seconds=round(self.forward_seconds + later.forward_seconds, 3), memory=max(self.memory, later.memory),
        )  # fmt: skip

    @property
    def stride(self) -> int:
        """Pixels per cell of the ranked level."""
        return self.levels[self.level][0]

    @property
    def width(self) -> int:
        """Channels of the ranked level."""
        return self.levels[self.level][1]
