"""Robustness to colour jitter: distances of jittered views, at every level, pooled and flattened."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Batch, Context, Indicator, Measured, Options
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.pairs import METRICS, NAME, Pairs
from medtransfer.indicators.robustness.streamed import BatchDistances
from medtransfer.indicators.robustness.triplet import triplet_losses, without_each_group
from medtransfer.indicators.sampled import assign_blocks, count_blocks
from medtransfer.records.scores import Score, Setting
from medtransfer.wording import are


class Robustness(Indicator):
    """1 - mean triplet loss of two jittered views of an image and a view of another one.

    Source: Eq. 3.
    """

    name: ClassVar[str] = NAME
    needs: ClassVar[frozenset[str]] = frozenset({"views"})

    def begin(self, context: Context) -> "PairDistances":
        """Start a measurement at all distances and levels."""
        return PairDistances(context)

    def metrics(self, options: Options) -> dict[str, Setting]:
        """Return the default setting, flattened and pooled."""
        default = options.robustness
        setting: Setting = {"distance": default.distance, "level": default.level, "margin": default.margin}
        return {name: {**setting, "pooled": pooled} for pooled, name in METRICS.items()}

    def watched(self, options: Options, mode: str) -> Setting:
        """Return the default setting, pooled by its rule."""
        return self.metrics(options)[METRICS[options.robustness.pooled(mode)]]

    def replicates(self, measured: Measured, setting: Mapping[str, object]) -> list[float]:
        """Return the robustness without each group, computed from the distances."""
        pairs = Pairs.of(measured.images, measured.per_sample)
        distance, level, pooled, margin = (setting[name] for name in ("distance", "level", "pooled", "margin"))
        key = (str(distance), int(str(level)), bool(pooled))
        losses = triplet_losses(pairs.d_pos[key], pairs.d_neg[key], float(str(margin)))
        return [float(value) for value in 1.0 - without_each_group(losses, pairs.groups)]

    def rescore(self, stored: Measured, options: Options) -> Measured | None:
        """Compute the scores at other margins from the stored distances."""
        try:
            pairs = Pairs.of(stored.images, stored.per_sample)
        except (KeyError, ValueError):  # damaged, or written by another version
            return None
        if {row.setting["margin"] for row in stored.scores} == set(options.margins):
            return stored
        flags = {(int(row.setting["level"]), bool(row.setting["pooled"])): row.flags for row in stored.scores}
        rows = pairs.scores(list(options.margins), flags)
        return Measured(stored.images, rows, stored.per_sample, stored.notes)


class PairDistances:
    """Collects the distances of all batches."""

    def __init__(self, context: Context) -> None:
        """Start before the first batch."""
        self._context = context
        self._shape = (context.repeats, len(context.images))
        self._values = np.empty(0, dtype=np.float32)  # (names, spaces, 2, repeats, images) from the first batch on
        self._counts: list[dict[str, int]] = []
        self._metrics = list(Robustness().metrics(context.options).values())

    def update(self, batch: Batch) -> None:
        """Compute the distances of a batch."""
        views = batch.views
        assert views is not None
        distances, counts = BatchDistances(views.queries, views.keys, views.negative).collect()
        if not self._counts:
            self._values = np.full((*distances.shape[:3], *self._shape), np.nan, dtype=np.float32)
            self._counts = [dict.fromkeys(counted, 0) for counted in counts]
        self._values[..., views.repeat, batch.positions] = distances
        for total, counted in zip(self._counts, counts, strict=True):
            total.update({name: total[name] + number for name, number in counted.items()})

    def compute(self) -> Measured:
        """Return the robustness at every setting, and the distances."""
        count = len(self._counts)
        spaces = [(number // 2 - count // 2, number % 2 == 1) for number in range(count)]  # (level, pooled)
        d_pos, d_neg = (self._table(spaces, side) for side in (0, 1))
        groups = np.unique(self._context.groups, return_inverse=True)[1].astype(np.int64)
        pairs = Pairs(d_pos, d_neg, self._context.images, groups)
        flags = {
            space: {name: number for name, number in counted.items() if number}
            for space, counted in zip(spaces, self._counts, strict=True)
        }
        rows = pairs.scores(list(self._context.options.margins), flags)
        return Measured(self._context.images, [self._with_replicates(row, pairs) for row in rows], pairs.arrays(), self._notes())

    def _with_replicates(self, row: Score, pairs: Pairs) -> Score:
        """Add the values without each block of groups to the rows that become metrics."""
        context = self._context
        if row.setting not in self._metrics:
            return row
        key = str(row.setting["distance"]), int(row.setting["level"]), bool(row.setting["pooled"])
        losses = triplet_losses(pairs.d_pos[key], pairs.d_neg[key], float(row.setting["margin"]))  # (N,)
        blocks = assign_blocks(context.groups, context.blocks, context.seed)
        count = count_blocks(context.groups, context.blocks)
        return replace(row, replicates=[float(1.0 - losses[blocks != block].mean()) for block in range(count)])

    def _table(self, spaces: list[tuple[int, bool]], side: int) -> dict[tuple[str, int, bool], NDArray[np.float32]]:
        return {
            (name, *space): self._values[row, number, side]
            for number, space in enumerate(spaces) for row, name in enumerate(DISTANCES)
        }  # fmt: skip

    def _notes(self) -> list[str]:
        notes = []
        for plan in self._context.plans[:1]:
            if plan.repaired is not None:
                notes.append(f"image {plan.repaired} would be its own negative in an odd list; it is compared with its neighbour")
            if plan.alike:
                notes.append(f"{are(plan.alike, 'image')} compared with another one of the same group, since it holds most images")
        return notes
