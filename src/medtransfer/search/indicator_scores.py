"""Scores of indicators other than robustness, from the artifacts of the score runs."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from medtransfer import tracking
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.pools import UNUSABLE
from medtransfer.records import Scores
from medtransfer.search.settings import IndicatorSetting
from medtransfer.selectors.score_names import INDICATOR_NAMES

Values = dict[int, float | None]  # by epoch; None where a score is no basis for a choice


def read_scores(runs: Sequence[str]) -> dict[IndicatorSetting, Values]:
    """Read the scores of all indicators but robustness.

    Args:
        runs: ids of score runs of the same pretraining, target and views, the newest first; at a setting of several runs the
            newest counts.

    Raises:
        InputError: a file is broken.
    """
    found: dict[IndicatorSetting, Values] = {}
    for run in runs:
        with tracking.artifact_folder(run, "scores") as folder:
            found = _read_run(folder) | found
    return found


def _read_run(folder: Path) -> dict[IndicatorSetting, Values]:
    found: dict[IndicatorSetting, Values] = {}
    for scores in map(Scores.read, sorted(folder.glob("epoch-*.json"))):
        for row in scores.rows:
            if row.indicator in INDICATOR_NAMES:
                usable = not any(row.flags.get(flag) for flag in UNUSABLE)
                values = found.setdefault(IndicatorSetting.of(row.indicator, row.setting), {})
                values[scores.epoch] = row.value if usable else None
    return found


def complete_only(scores: Mapping[IndicatorSetting, Values], pool: Pool) -> dict[IndicatorSetting, dict[int, float]]:
    """Return the scores by which a choice can be made in a pool: of every checkpoint, except those that are not usable.

    The random initialisation may lack a score, and can then not be chosen.
    """
    later = set(pool.candidates) - {0}
    return {
        setting: known for setting, values in scores.items()
        if later <= values.keys() and any(known := _usable(values, pool.candidates))
    }  # fmt: skip


def _usable(values: Values, candidates: Collection[object]) -> dict[int, float]:
    return {epoch: value for epoch, value in values.items() if value is not None and epoch in candidates}
