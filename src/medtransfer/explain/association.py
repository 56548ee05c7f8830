"""What goes with the outcome over the checkpoints of a configuration, and what remains of it given the epoch."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medtransfer.analysis.evidence import correlate_ranks
from medtransfer.analysis.summary import mean_over_pools
from medtransfer.explain.cases import ByEpoch, Case
from medtransfer.explain.quantities import QUANTITIES, ROBUSTNESS
from medtransfer.metrics.comparison import LEAST_CLUSTERS, ClusterMean, holm
from medtransfer.progress import track

Triple = tuple[float, float, float | None]
RESIDUE = 1e-9  # differences of ranks up to this are rounding


@dataclass(frozen=True)
class Association:
    """Mean rank correlations of one quantity at one level, over configurations; epoch 0 is left out of all.

    Attributes:
        quantity: key of QUANTITIES.
        level: counted from the end.
        configurations: number of configurations that have it, and in which it and the outcome vary over four epochs or more.
        outcome: with the outcome.
        given_epoch: with the outcome, given the epoch (partial correlation of ranks, linear in the rank of the epoch); None if
            it is defined nowhere.
        epoch_removed: with the outcome, after the mean course over configurations of the same mode and epochs is subtracted from
            the ranks of both; None if no two configurations have these in common.
        follows_epoch: number of configurations whose partial correlation is not defined, since one side has the order of the
            epochs.
        robustness: with the robustness of the same level, given the epoch; None for robustness itself, or if defined nowhere.
        p_holm: larger p-value of `given_epoch` and `epoch_removed`, corrected for all associations; None with too few clusters.
    """

    quantity: str
    level: int
    configurations: int
    outcome: ClusterMean
    given_epoch: ClusterMean | None
    epoch_removed: ClusterMean | None
    follows_epoch: int
    robustness: ClusterMean | None
    p_holm: float | None = None

    @property
    def p_value(self) -> float | None:
        """P-value that nothing is left without the epoch, by either way to take it out; None if one has none, or signs differ."""
        both = [mean for mean in (self.given_epoch, self.epoch_removed) if mean is not None]
        p_values = [mean.p_value for mean in both if mean.p_value is not None]
        if len(p_values) < 2:
            return None
        return max(p_values) if both[0].value * both[1].value > 0 else 1.0

    @property
    def label(self) -> str:
        """Name for texts."""
        return f"{QUANTITIES[self.quantity].label} at level {self.level}"


@dataclass(frozen=True)
class Associations:
    """All associations.

    Attributes:
        rows: by quantity and level, the last level first.
        epoch: correlation of the epoch with the outcome; None where no configuration has four epochs after 0.
        epochs: lowest number of checkpoints after epoch 0 in a configuration that counts.
    """

    rows: tuple[Association, ...]
    epoch: ClusterMean | None
    epochs: int

    def find(self, quantity: str, level: int) -> Association | None:
        """Return the association of a quantity at a level; None if there is none."""
        return next((row for row in self.rows if (row.quantity, row.level) == (quantity, level)), None)


def associate(cases: Sequence[Case]) -> Associations:
    """Correlate every quantity with the outcome, within each configuration, and average over the configurations."""
    levels = sorted({level for case in cases for level in case.levels}, reverse=True)
    places = list(product(QUANTITIES, levels))
    tracked = track(places, "explain: associations", len(places), "associations")
    rows = [row for place in tracked if (row := _associate(cases, *place)) is not None]
    p_values = [row.p_value for row in rows]
    corrected = iter(holm([p for p in p_values if p is not None]))
    adjusted = [None if p is None else next(corrected) for p in p_values]
    counted = [case for case in cases if _epoch_with_outcome(case) is not None]
    return Associations(
        tuple(replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)),
        _mean(counted, _epoch_with_outcome),
        min((len([epoch for epoch in case.pool.means if epoch]) for case in counted), default=0),
    )


def _associate(cases: Sequence[Case], quantity: str, level: int) -> Association | None:
    found = [(case, triple) for case in cases if (triple := with_outcome(case, case.values.get((quantity, level), {})))]
    if not found:
        return None
    kept = [case for case, _ in found]
    triples = dict(zip(map(id, kept), (triple for _, triple in found), strict=True))
    outcome = _mean(kept, lambda case: triples[id(case)][0])
    assert outcome is not None
    removed = without_epoch(kept, quantity, level)
    return Association(
        quantity, level, len(kept), outcome, _mean(kept, lambda case: triples[id(case)][2]),
        _mean(kept, lambda case: removed.get(id(case))), sum(triple[2] is None for triple in triples.values()),
        None if quantity == ROBUSTNESS else _mean(kept, lambda case: with_robustness(case, quantity, level)),
    )  # fmt: skip


def with_outcome(case: Case, values: ByEpoch) -> Triple | None:
    """Return the rank correlations of a quantity, the epoch, and the quantity given the epoch, with the outcome."""
    means = {int(epoch): mean for epoch, mean in case.pool.means.items()}
    return correlate_ranks(values, means)


def without_epoch(cases: Sequence[Case], quantity: str, level: int) -> dict[int, float]:
    """Correlate a quantity with the outcome after the mean course of each over configurations is taken out.

    The partial correlation given the epoch takes out what is linear in ranks. If both rise early and then stay, their ranks are
    not, and it is above 0 though only the epoch acts on both. The mean course of ranks over configurations of the same mode
    and epochs has the right form, as far as configurations share it.

    Returns:
        Correlation of what is left within each configuration, by `id` of the case; those of which fewer than LEAST_CLUSTERS
        share mode and epochs, so that what is left of one is much of another's, or with nothing left, are not in it.
    """
    ranks: dict[tuple[object, ...], list[tuple[Case, NDArray[np.float64]]]] = defaultdict(list)
    for case in cases:
        values = case.values[quantity, level]
        epochs = sorted(epoch for epoch in values if epoch and epoch in case.pool.means)
        sides = [values[epoch] for epoch in epochs], [case.pool.means[epoch] for epoch in epochs]
        ranks[case.pool.fields["mode"], *epochs].append((case, np.array([stats.rankdata(side) for side in sides])))  # (2, epochs)
    left = {}
    for members in (members for members in ranks.values() if len(members) >= LEAST_CLUSTERS):
        course = np.mean([ranked for _, ranked in members], axis=0)
        for case, ranked in members:
            rest = ranked - course
            if (np.ptp(rest, axis=1) > RESIDUE).all():
                left[id(case)] = float(np.corrcoef(rest)[0, 1])
    return left


def with_robustness(case: Case, quantity: str, level: int) -> float | None:
    """Return the partial rank correlation of a quantity with robustness of its level, given the epoch; None if not defined."""
    found = correlate_ranks(case.values[quantity, level], case.values.get((ROBUSTNESS, level), {}))
    return None if found is None else found[2]


def _epoch_with_outcome(case: Case) -> float | None:
    found = with_outcome(case, {int(epoch): float(epoch) for epoch in case.pool.means})
    return None if found is None else found[1]


def _mean(cases: Sequence[Case], value: Callable[[Case], float | None]) -> ClusterMean | None:
    """Return the mean of the defined values; None if there are none."""
    defined = [(case.pool, number) for case in cases if (number := value(case)) is not None]
    return mean_over_pools([pool for pool, _ in defined], [number for _, number in defined]) if defined else None
