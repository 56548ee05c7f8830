"""Write the runs of scores on disk that the tracking store lacks."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from medtransfer import tracking
from medtransfer.config import Score as Section
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.indicators.contract import Options, pick
from medtransfer.indicators.registry import INDICATORS, find_indicators
from medtransfer.locks import is_locked
from medtransfer.records import SOURCE_ACCURACY, Score, ScoreIndex, Scores, checkpoint_path, folders_and_files
from medtransfer.score.finished import run_at_these_settings
from medtransfer.score.options import options_of

log = logging.getLogger("medtransfer")
INDEX, PICTURE = "scores.json", "scores.png"
NO_HEAD = "no_source_head"  # flag of scores that need a head which the checkpoint lacks


def publish(section: Section, prepared: Path, checkpoints: Path) -> int:
    """Write the missing runs, at the section's default settings.

    Args:
        section: validated params; its `out` holds the scores.
        prepared: folder of all prepared targets, the inputs of the runs.
        checkpoints: folder of all pretrainings.

    Returns:
        Number of runs written. Unfinished folders and those of another version are skipped with one warning for all; folders
        that a process works on, or that were scored at other settings, are skipped without a warning.
    """
    records, skipped = [], dict[Path, Exception]()
    folders = _unpublished(_list_scores(Path(section.out), skipped), section, prepared, checkpoints)
    if not folders and not skipped:
        return 0
    options, asked = options_of(section), [one.name for one in find_indicators(section.indicators, "score.indicators")]
    for folder in folders:
        if is_locked(folder):
            continue
        try:
            index = ScoreIndex.read(folder / INDEX)
            scores = {epoch: Scores.read(checkpoint_path(folder, epoch)) for epoch in index.epochs}
            if scores and _is_at_other_settings(scores, options, asked):
                log.info("score: %s holds scores at other settings: `medtransfer score` makes those of the parameters", folder)
                continue
            records.append(record_of(index, scores, options, folder, prepared / folder.parent.name))
        except (InputError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:  # a foreign file may hold anything
            skipped[folder] = error
    tracking.warn_of_unreadable("scores", skipped)
    return tracking.write_runs("score", records, "scores to the tracking store")


def _list_scores(out: Path, closed: dict[Path, Exception]) -> list[Path]:
    """List the folders `<target>/<encoder>-<origin>` that hold scores; those that cannot be read are added to `closed`."""
    targets = [out / name for name in folders_and_files(out, closed)[0]]
    series = [target / name for target in targets for name in folders_and_files(target, closed)[0]]
    entries = {folder: folders_and_files(folder, closed) for folder in series}
    return [folder for folder, (folders, files) in entries.items() if any(name.startswith("epoch-") for name in (*folders, *files))]


def _unpublished(folders: Collection[Path], section: Section, prepared: Path, checkpoints: Path) -> list[Path]:
    """Return the folders whose run may be missing, found without the libraries of the indicators."""
    if tracking.missed_runs("score"):
        return sorted(folders)
    stored = {run.tags[tracking.CELL] for run in tracking.read_runs("score", only=())} if folders else set()
    return [
        folder for folder in sorted(folders)
        if run_at_these_settings(folder, section, prepared, checkpoints / folder.name) not in stored
    ]  # fmt: skip


def _is_at_other_settings(scores: Mapping[int, Scores], options: Options, asked: Collection[str]) -> bool:
    """Return whether an indicator that is asked for was measured, but not at its default setting, so that a run would lack it."""
    measured = metrics_of(scores, options)
    return any(not INDICATORS[name].metrics(options).keys() & measured.keys() for name in _shared(scores).intersection(asked))


def _shared(scores: Mapping[int, Scores]) -> set[str]:
    """Return the indicators that all checkpoints have, at the same settings; those that are not asked for may differ."""
    first, *others = [_settings(record) for record in scores.values()]
    return {name for name, settings in first.items() if all(other.get(name) == settings for other in others)}


def _settings(scores: Scores) -> dict[str, list[Any]]:
    return {name: [row.setting for row in scores.rows if row.indicator == name] for name in scores.indicators}


Rows = dict[int, Score]  # by epoch


def metrics_of(scores: Mapping[int, Scores], options: Options) -> dict[str, Rows]:
    """Return the rows that become metrics, by metric name, of the indicators that all checkpoints have.

    Indicators whose default setting was not scored are left out.
    """
    metrics, shared = dict[str, Rows](), _shared(scores)
    for indicator in (INDICATORS[name] for name in INDICATORS if name in shared):
        for metric, setting in indicator.metrics(options).items():
            try:
                rows = {
                    epoch: pick([row for row in record.rows if row.indicator == indicator.name], setting)
                    for epoch, record in scores.items()
                }  # fmt: skip
            except KeyError:
                continue
            metrics[metric] = rows
    return metrics


def record_of(index: ScoreIndex, scores: Mapping[int, Scores], options: Options, folder: Path, target: Path) -> tracking.RunRecord:
    """Return the run of a pretraining's scores on a target.

    Args:
        index: index of the folder.
        scores: scores by epoch.
        options: settings whose scores become metrics.
        folder: folder of the scores.
        target: folder of the prepared target.

    Raises:
        InputError: the scores are not of one pretraining, or lack an indicator, the default setting or a file.
    """
    if not scores:
        raise InputError(f"expected scores in {folder}, but there are none; score again")
    first = scores[min(scores)]
    _check(index, scores, folder)
    metrics = metrics_of(scores, options)
    if not metrics:
        raise InputError(f"expected scores at the default settings in {folder}, but there are none; score again")
    weights = [[epoch, scores[epoch].weights] for epoch in sorted(scores)]
    defaults = {metric: rows[min(rows)].setting for metric, rows in metrics.items()}
    shared = _shared(scores)
    listed = [[row.indicator, row.setting] for row in first.rows if row.indicator in shared]
    headless = [epoch for epoch, record in sorted(scores.items()) if any(NO_HEAD in row.flags for row in record.rows)]
    parts = [first.form(), first.data, first.pretraining, weights, first.settings, defaults, listed]
    cell = digest([*parts, *([headless] if headless else [])], 16)  # heads that are imported later do not change the weights
    params = {
        "target": first.target, "data": first.data, "encoder": first.encoder, "origin": first.origin, "source": first.source,
        "pretraining": first.pretraining, "images": first.images, **first.settings, "scores": " ".join(metrics),
        **{name: value for setting in defaults.values() for name, value in setting.items() if name != "pooled"},
    }  # fmt: skip
    paths = [checkpoint_path(folder, epoch) for epoch in sorted(scores)]
    files = [folder / INDEX, *(file for path in paths for file in (path, path.with_suffix(".npz")))]
    if lacking := [path for path in files if not path.exists()]:
        raise InputError(f"expected the file {lacking[0]} beside the scores, but it does not exist; score again")
    artifacts = {f"scores/{path.name}": path for path in files}
    if (picture := folder / PICTURE).exists():
        artifacts[picture.name] = picture
    dataset = (first.target, first.data, target, "scoring")
    return tracking.RunRecord(
        f"{folder.name} → {first.target}", cell, params, {}, _curves(scores, metrics), artifacts=artifacts, datasets=[dataset]
    )


def _check(index: ScoreIndex, scores: Mapping[int, Scores], folder: Path) -> None:
    first = scores[min(scores)]
    for record in scores.values():
        if _identity(record, index) != _identity(first, index):
            raise InputError(
                f"expected the scores of one pretraining on one dataset in {folder}, at the same settings, but they differ; "
                "score again"
            )
        if lacking := sorted(set(index.indicators) - set(record.indicators)):
            raise InputError(
                f"expected the indicator {lacking[0]} of epoch {record.epoch} in {folder}, but it is missing; score again"
            )


def _identity(scores: Scores, index: ScoreIndex) -> list[Any]:
    settings = _settings(scores)
    return [scores.pretraining, scores.data, scores.settings, [settings.get(name) for name in index.indicators]]


def _curves(scores: Mapping[int, Scores], metrics: Mapping[str, Rows]) -> dict[str, dict[int, float]]:
    """Return the scores by epoch, with their standard errors (`_se`) and flags, and the source accuracy."""
    curves = {}
    for metric, rows in metrics.items():
        curves[metric] = {epoch: row.value for epoch, row in rows.items() if row.value is not None}
        curves[f"{metric}_se"] = {epoch: row.error for epoch, row in rows.items() if row.error is not None}
        for flag in sorted({flag for row in rows.values() for flag in row.flags}):
            curves[f"{metric}_{flag}"] = {epoch: float(row.flags.get(flag, 0)) for epoch, row in rows.items()}
    curves[SOURCE_ACCURACY] = {e: record.source_accuracy for e, record in scores.items() if record.source_accuracy is not None}
    return {name: curve for name, curve in curves.items() if curve}
