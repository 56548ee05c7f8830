"""Configurations with their robustness and geometry by level, from the store, the checkpoints and the prepared targets."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtransfer import tracking
from medtransfer.analysis.judge import unjudged
from medtransfer.analysis.pool import Pool
from medtransfer.config import Score as ScoreSection
from medtransfer.config.loaded_files import make_missing
from medtransfer.errors import InputError
from medtransfer.explain.features import measure_series
from medtransfer.explain.quantities import ROBUSTNESS
from medtransfer.indicators.robustness.pairs import read_pair
from medtransfer.indicators.robustness.triplet import standard_error, triplet_losses
from medtransfer.progress import track
from medtransfer.records import PreparedTarget, Scores, checkpoint_path, series_folder

Place = tuple[str, int]  # quantity, level counted from the end
ByEpoch = Mapping[int, float]


@dataclass(frozen=True)
class Rise:
    """Change of robustness from the checkpoint before.

    Attributes:
        value: the change.
        error: its standard error over groups of images, paired; NaN of a single group.
        groups: number of groups.
    """

    value: float
    error: float
    groups: int


@dataclass(frozen=True)
class Case:
    """One pretraining on one target in one mode of transfer.

    Attributes:
        pool: outcomes by checkpoint and seed.
        values: every quantity by level and epoch; what is not defined is left out.
        rises: change of robustness, by level and the epoch that it leads to; empty without per-image distances.
        channels: width of each level; empty without checkpoints.
    """

    pool: Pool
    values: Mapping[Place, ByEpoch]
    rises: Mapping[int, Mapping[int, Rise]] = field(default_factory=dict)
    channels: Mapping[int, int] = field(default_factory=dict)

    @property
    def levels(self) -> list[int]:
        """Levels of its quantities, the last one first."""
        return sorted({level for _, level in self.values}, reverse=True)

    @property
    def group(self) -> str:
        """Pretraining, target and portion of its samples, which cases of several modes share."""
        fields, portion = self.pool.fields, "".join(f", {text}" for text in self.pool.portion if text)
        return f"{fields['encoder']} {fields['origin']} → {fields['target']}{portion}{self.pool.label}"


@dataclass(frozen=True)
class Cases:
    """Configurations to explain, and sentences on what was left out.

    Attributes:
        cases: by name.
        level: level of the default robustness.
        notes: what was left out, and why.
    """

    cases: tuple[Case, ...]
    level: int
    notes: tuple[str, ...]


def select(pools: Sequence[Pool], least: float) -> tuple[list[Pool], list[str]]:
    """Select the pools that have robustness and an outcome that differs, with a line on each of the others.

    Raises:
        InputError: there are none.
    """
    reasons = {pool.name: unjudged(pool, least) or ("" if pool.robustness else "no robustness") for pool in pools}
    kept = [pool for pool in pools if not reasons[pool.name]]
    if not kept:
        name, reason = next(iter(reasons.items()), ("the store", "no finished fine-tuning"))
        lacking = not pools or any(not pool.complete or not pool.robustness for pool in pools)
        raise InputError(
            f"expected a configuration with the score and the test result of every checkpoint, but there is none ({name}: "
            f"{reason}){make_missing() if lacking else ''}"
        )
    return kept, [f"{name}: left out, {reason}" for name, reason in reasons.items() if reason]


def read_own(
    pools: Sequence[Pool], left_out: Sequence[str], checkpoints: Path, prepared: Path, out: Path, section: ScoreSection,
    least: float,
) -> Cases:  # fmt: skip
    """Read robustness by level from stored distances, and measure the features of every checkpoint.

    Args:
        pools: of the study.
        left_out: lines on what is no part of them.
        checkpoints: folder of all pretrainings.
        prepared: folder of all prepared targets.
        out: folder of the measured features.
        section: validated params of the scores, whose images and views are used.
        least: mean outcome up to which models learned nothing.

    Raises:
        InputError: no pool can be explained, or checkpoints, targets or distances are missing or others than the results'.
    """
    kept, notes = select(pools, least)
    robust = {pool.name: _read_robustness(pool) for pool in track(kept, "explain: reading distances", len(kept), "scores")}
    geometry: dict[tuple[str, ...], tuple[dict[Place, ByEpoch], dict[int, int], list[str]]] = {}
    cases = []
    for pool in kept:
        key = tuple(pool.fields[name] for name in ("encoder", "origin", "target")) + (pool.digests["pretraining"],)
        if key not in geometry:
            geometry[key] = _measure(pool, checkpoints, prepared, out, section)
            notes += geometry[key][2]
        values, channels, _ = geometry[key]
        by_level, rises = robust[pool.name]
        cases.append(Case(pool, by_level | values, rises, channels))
    return Cases(tuple(cases), section.level, (*left_out, *notes))


def _measure(
    pool: Pool, checkpoints: Path, prepared: Path, out: Path, section: ScoreSection
) -> tuple[dict[Place, ByEpoch], dict[int, int], list[str]]:
    """Return the quantities by level and epoch, the width of each level, and notes on what is not defined."""
    fields = pool.fields
    series = series_folder(checkpoints, fields["encoder"], fields["origin"])
    target = PreparedTarget.open(prepared / fields["target"]).verify()
    records, channels = measure_series(out, series, target, section)
    pretraining = next(iter(records.values())).pretraining
    got = {"pretraining": pretraining, "data": target.info.fingerprint}
    for name, where in (("pretraining", series), ("data", target.folder)):
        if got[name] != pool.digests[name]:
            raise InputError(
                f"expected the {name} {pool.digests[name]} of the results of {pool.name} in {where}, but got {got[name]}; run "
                "`medtransfer finetune --study` for these"
            )
    values: dict[Place, dict[int, float]] = defaultdict(dict)
    notes = []
    for epoch, record in records.items():
        for row in record.rows:
            if row.value is not None:
                values[row.indicator, int(row.setting["level"])][epoch] = row.value
        if undefined := [f"{row.indicator} at level {row.setting['level']}" for row in record.rows if row.value is None]:
            notes.append(
                f"{fields['encoder']} {fields['origin']} → {fields['target']}, epoch {epoch}: not defined: {', '.join(undefined)}"
            )
    return dict(values), channels, notes


def _read_robustness(pool: Pool) -> tuple[dict[Place, ByEpoch], dict[int, dict[int, Rise]]]:
    """Return the robustness of every level by epoch, and its paired changes.

    Raises:
        InputError: a file is missing or broken.
    """
    assert pool.score is not None
    setting, pooled = pool.score, pool.score.pooled(pool.fields["mode"])
    losses: dict[int, dict[int, NDArray[np.float64]]] = defaultdict(dict)
    groups: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    with tracking.artifact_folder(pool.score_run, "scores") as folder:
        for epoch in map(int, sorted(pool.robustness)):
            path = checkpoint_path(folder, epoch)
            rows = Scores.read(path).rows
            for level in sorted({int(row.setting["level"]) for row in rows if row.indicator == ROBUSTNESS}):
                d_pos, d_neg, groups = read_pair(path.with_suffix(".npz"), setting.distance, level, pooled)
                losses[level][epoch] = triplet_losses(d_pos, d_neg, setting.margin)
    count = len(np.unique(groups))
    values: dict[Place, ByEpoch] = {
        (ROBUSTNESS, level): {epoch: float(1 - loss.mean()) for epoch, loss in by_epoch.items()}
        for level, by_epoch in losses.items()
    }
    rises = {
        level: {
            after: Rise(float(gain.mean()), standard_error(gain, groups), count)
            for before, after in pairwise(by_epoch) for gain in [by_epoch[before] - by_epoch[after]]
        }
        for level, by_epoch in losses.items()
    }  # fmt: skip
    return values, rises
