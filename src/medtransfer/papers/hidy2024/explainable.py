"""Configurations of the released results, whose robustness is known by level, to explain without features."""

from collections import defaultdict

import pandas as pd

from medtransfer.explain.cases import ByEpoch, Case, Cases, Place, select
from medtransfer.explain.quantities import ROBUSTNESS
from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.papers.hidy2024.store import DEFAULT, GROUP, LEVEL, Released, build_pools, read_released


def read_replayed_cases(released: Released | None = None) -> Cases:
    """Read the configurations of the newest replay, joined by key and without copied scores.

    Raises:
        InputError: the store holds no replay.
    """
    released = released or read_released()
    pools, notes = select(build_pools(released, released.measured), 0.0)
    at_default = released.measured
    for name in ("distance", "margin"):
        at_default = at_default[at_default[name] == DEFAULT[name]]
    by_group = dict(iter(at_default.groupby([*GROUP, "pooled"])))
    cases = []
    for pool in pools:
        encoder, origin, target, mode = (pool.fields[name] for name in ("encoder", "origin", "target", "mode"))
        cases.append(Case(pool, _by_level(by_group[encoder, origin, target, POOLED["frozen"][mode]])))
    notes.append("These are the paper’s released results: they hold no encoders, so robustness by level is all that is known.")
    return Cases(tuple(cases), LEVEL, tuple(notes))


def _by_level(scores: pd.DataFrame) -> dict[Place, ByEpoch]:
    values: dict[Place, dict[int, float]] = defaultdict(dict)
    for level, epoch, robustness in scores[["level", "epoch", "robustness"]].itertuples(index=False, name=None):
        values[ROBUSTNESS, int(level)][int(epoch)] = float(robustness)
    return dict(values)
