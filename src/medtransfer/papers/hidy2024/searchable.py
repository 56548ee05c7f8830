"""Cases of a search from the released results, whose robustness is known only at the released margins."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtransfer.papers.hidy2024.store import GROUP, Released, build_pools, read_released
from medtransfer.search.evaluate import Key, Measured
from medtransfer.search.results import Results, Scored, both_poolings, make_case, select_usable


@dataclass(frozen=True)
class ListedRobustness:
    """Robustness of one checkpoint at some margins."""

    by_margin: Mapping[float, float]

    def robustness(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the robustness at margins (M,).

        Raises:
            KeyError: it is unknown at a margin.
        """
        return np.array([self.by_margin[margin] for margin in margins.tolist()])


def read_replayed(released: Released | None = None) -> Results:
    """Read the pools of the newest replay that a search can judge.

    Raises:
        InputError: the store holds no replay.
    """
    released = released or read_released()
    usable, notes = select_usable(build_pools(released, released.measured))
    scored = {key: _read_group(rows) for key, rows in released.measured.groupby(GROUP)}
    groups = [tuple(pool.fields[name] for name in ("encoder", "origin", "target")) for pool in usable]
    cases = [make_case(pool, scored[group]) for pool, group in zip(usable, groups, strict=True)]
    return Results(tuple(cases), tuple(notes))


def _read_group(scores: pd.DataFrame) -> Scored:
    values: dict[Key, dict[int, dict[float, float]]] = defaultdict(lambda: defaultdict(dict))
    columns = scores[["distance", "level", "pooled", "epoch", "margin", "robustness"]]
    for distance, level, pooled, epoch, margin, robustness in columns.itertuples(index=False, name=None):
        values[str(distance), int(level), bool(pooled)][int(epoch)][float(margin)] = float(robustness)
    epochs = {epoch for by_epoch in values.values() for epoch in by_epoch}
    margins = [set(by_margin) for by_epoch in values.values() for by_margin in by_epoch.values()]
    pairs = both_poolings({key for key, by_epoch in values.items() if set(by_epoch) == epochs})
    curves = {
        key: {epoch: ListedRobustness(by_margin) for epoch, by_margin in by_epoch.items()} for key, by_epoch in values.items()
    }
    return Scored(curves, Measured(pairs, frozenset(set.intersection(*margins))))
