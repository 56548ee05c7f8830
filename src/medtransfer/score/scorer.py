"""Score the checkpoints of one pretraining on a target, reusing stored scores and per-sample values."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Score
from medtransfer.errors import InputError
from medtransfer.indicators.contract import Indicator, Measured, Options, pick
from medtransfer.indicators.registry import ALL, INDICATORS
from medtransfer.indicators.requirements import needs_head, without
from medtransfer.indicators.streamed_pass import NOT_LOADED, measure
from medtransfer.progress import Tally
from medtransfer.records import (
    BROKEN_ARRAYS,
    CheckpointInfo,
    PreparedTarget,
    ScoreIndex,
    Scores,
    checkpoint_path,
    read_values,
    write_values,
)
from medtransfer.score.finished import is_ours
from medtransfer.score.options import options_of, settings_of, views_of
from medtransfer.score.other_settings import bring_back, keep
from medtransfer.score.plot import draw_curves
from medtransfer.score.requested import requested_indicators
from medtransfer.score.sync import INDEX, NO_HEAD, PICTURE, Rows, metrics_of, record_of
from medtransfer.score.table import TABLE, write_table
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.checkpoints import load_encoder, load_head
from medtransfer.training.device import open_fabric
from medtransfer.wording import counted

log = logging.getLogger("medtransfer")
SAID = 3  # values of a checkpoint that are logged
ALARMING = {"zero", "nonfinite", "undefined"}  # flags of encoders that may be broken


def score_checkpoints(
    section: Score, infos: dict[int, CheckpointInfo], series: Path, prepared: Path, folder: Path, force: bool
) -> str:  # fmt: skip
    """Score every checkpoint on the section's target.

    Args:
        section: validated params.
        infos: records of the checkpoints by epoch.
        series: folder of the checkpoints.
        prepared: folder of all prepared targets.
        folder: folder of the scores, which no other process works on.
        force: whether to score again if it is finished.

    Returns:
        The digest of the run in the tracking store.

    Raises:
        InputError: an indicator or an option is unknown, or does not fit the target.
    """
    target = PreparedTarget.open(prepared / section.target)
    indicators = requested_indicators(section, target)
    target.verify()
    if ALL in section.indicators and (left_out := INDICATORS.keys() - {indicator.name for indicator in indicators}):
        names = ", ".join(name for name in INDICATORS if name in left_out)
        log.warning("score: %s cannot be measured %s, as on %s", names, without(target), section.target)
    scorer = Scorer(section, indicators, target, series, folder)
    if not force:
        bring_back(folder, lambda each: scorer.lacks(each, infos))
    if lacking := len(infos) if force else scorer.lacks(folder, infos)[0]:
        log.info(
            "score: %s of %s on %s by %s", counted(lacking, "checkpoint"), folder.name, section.target,
            counted(len(indicators), "indicator"),
        )  # fmt: skip
    return _run(scorer, infos, force)


def _run(scorer: "Scorer", infos: dict[int, CheckpointInfo], force: bool) -> str:
    folder, options = scorer.folder, options_of(scorer.section)
    index = ScoreIndex(sorted(infos), [indicator.name for indicator in scorer.indicators])
    scores = {}
    with Tally(f"score {scorer.section.target} {folder.name}", len(infos), "checkpoints") as tally:
        for epoch in sorted(infos):
            scores[epoch] = scorer.score(epoch, infos[epoch], force)
            (tally.count if epoch in scorer.measured else tally.reuse)()
    _remove_stray(folder, scores)
    _write_index(folder / INDEX, index)
    metrics = metrics_of(scores, options)
    write_table(folder / TABLE, _asked_first(metrics, scores, index.indicators), scores)
    draw_curves(folder / PICTURE, metrics, scores, f"Scores on {scorer.section.target} of {folder.name}")
    record = record_of(index, scores, options, folder, scorer.target.folder)
    with tracking.once("score", record.name, record.cell, record.params, force=force, on_disk=True) as handle:
        if handle:
            handle.log_record(record)
    return record.cell


def _asked_first(metrics: Mapping[str, Rows], scores: Mapping[int, Scores], asked: Collection[str]) -> dict[str, Rows]:
    """Return the metrics with those of the indicators that are asked for first."""
    return dict(sorted(metrics.items(), key=lambda item: item[1][min(scores)].indicator not in asked))


def _write_index(path: Path, index: ScoreIndex) -> None:
    """Write the index, unless it is unchanged; it comes after all scores, since a folder without it is unfinished."""
    try:
        current = ScoreIndex.read(path)
    except InputError:
        current = None
    if current != index:
        index.write(path)


def _remove_stray(folder: Path, epochs: Collection[int]) -> None:
    """Remove scores of checkpoints that no longer exist."""
    kept = {checkpoint_path(folder, epoch).stem for epoch in epochs}
    for stray in (path for path in folder.glob("epoch-*.*") if is_ours(path.name) and path.stem not in kept):
        stray.unlink()


@dataclass
class Scorer:
    """Scores single checkpoints.

    Attributes:
        section: validated params.
        indicators: requested indicators.
        target: target to score on.
        series: folder of the checkpoints.
        folder: folder of the scores.
        is_kept: whether a copy of what the folder held is kept.
        measured: checkpoints of which something was measured.
    """

    section: Score
    indicators: list[Indicator]
    target: PreparedTarget
    series: Path
    folder: Path
    is_kept: bool = False
    measured: set[int] = field(default_factory=set)

    def score(self, epoch: int, info: CheckpointInfo, force: bool) -> Scores:
        """Return the scores of a checkpoint; indicators are measured only if the stored values do not suffice.

        Stored scores of other indicators are kept if they are of the same weights, images and settings.
        """
        path = checkpoint_path(self.folder, epoch)
        old = None if force else self._read(path, info)
        measured = {} if old is None else self._stored(old, path, info)
        if missing := [indicator for indicator in self.indicators if indicator.name not in measured]:
            self.measured.add(epoch)
            new = self._measure(missing, epoch, info, options_of(self.section))
            extends = old is not None and measured.keys() >= set(old.indicators)  # all stored values stay
            if not self.is_kept and path.exists() and not extends:
                keep(self.folder)
                self.is_kept = True
            is_rewritten = not measured or any(result.per_sample for result in new.values())
            measured |= new
            if is_rewritten:
                if not extends:
                    path.unlink(missing_ok=True)  # the record must never describe values of other settings
                old = None
                arrays = {name: values for result in measured.values() for name, values in result.per_sample.items()}
                write_values(path.with_suffix(".npz"), next(iter(measured.values())).images, arrays)
        scores = self._record(info, {name: measured[name] for name in INDICATORS if name in measured})
        if scores != old:
            scores.write(path)
        return scores

    def lacks(self, folder: Path, infos: Mapping[int, CheckpointInfo]) -> tuple[int, int]:
        """Return how many checkpoints a folder of scores lacks requested measurements of, and how many of these and of records."""
        checkpoints = measurements = 0
        for epoch, info in infos.items():
            path = checkpoint_path(folder, epoch)
            old = self._read(path, info)
            stored = {} if old is None else self._stored(old, path, info)
            missing = sum(indicator.name not in stored for indicator in self.indicators)
            checkpoints += missing > 0
            measurements += missing + (old is None)
        return checkpoints, measurements

    def _stored(self, scores: Scores, path: Path, info: CheckpointInfo) -> dict[str, Measured]:
        """Return the stored measurements that serve, by indicator; those that are requested at the requested options."""
        requested, options = [indicator.name for indicator in self.indicators], options_of(self.section)
        serving = {}
        for name, stored in _by_indicator(scores, path).items():
            if info.head and any(NO_HEAD in row.flags for row in stored.scores):
                continue  # the same weights were imported again, with their classifier
            if (rescored := INDICATORS[name].rescore(stored, options) if name in requested else stored) is not None:
                serving[name] = rescored
        return serving

    def _measure(
        self, indicators: list[Indicator], epoch: int, info: CheckpointInfo, options: Options
    ) -> dict[str, Measured]:  # fmt: skip
        fabric = open_fabric(self.section.accelerator, 1, self.section.precision)
        path = checkpoint_path(self.series, epoch)
        encoder = load_encoder(path, info)
        head = load_head(path, info, encoder) if needs_head(indicators) else NOT_LOADED
        label = f"score {self.section.target} {self.series.name} epoch {epoch}"
        with arithmetic(fabric.device, tf32=self.section.tf32, reproducible=True):
            measured = measure(
                indicators, encoder, self.target, views_of(self.section), options, contract=info.input,
                batch_size=self.section.batch_size, device=fabric.device, autocast=fabric.autocast, label=label, head=head,
            )  # fmt: skip
        _log(label, indicators, measured, options)
        return measured

    def _record(self, info: CheckpointInfo, measured: Mapping[str, Measured]) -> Scores:
        return Scores(
            target=self.section.target, data=self.target.info.fingerprint, encoder=info.encoder, origin=info.origin,
            source=info.source, epoch=info.epoch, pretraining=info.pretraining, weights=info.weights,
            source_accuracy=info.source_accuracy, images=len(next(iter(measured.values())).images),
            settings=settings_of(self.section), rows=[row for result in measured.values() for row in result.scores],
            notes={name: result.notes for name, result in measured.items() if result.notes},
        )  # fmt: skip

    def _read(self, path: Path, info: CheckpointInfo) -> Scores | None:
        """Return the scores on disk if they are those of the same weights, images and settings."""
        try:
            scores = Scores.read(path)
        except InputError:  # missing, of another version or broken
            return None
        stored = (scores.pretraining, scores.weights, scores.data, scores.settings)
        current = (info.pretraining, info.weights, self.target.info.fingerprint, settings_of(self.section))
        return scores if stored == current else None


def _by_indicator(scores: Scores, path: Path) -> dict[str, Measured]:
    """Return the stored measurement of each indicator; none if the per-sample values are missing or broken."""
    try:
        images, arrays = read_values(path.with_suffix(".npz"))
    except BROKEN_ARRAYS:
        return {}
    if len(images) != scores.images:
        return {}
    return {
        name: Measured(
            images, [row for row in scores.rows if row.indicator == name],
            {key: values for key, values in arrays.items() if key.startswith(f"{name}/")}, scores.notes.get(name, []),
        )
        for name in scores.indicators if name in INDICATORS
    }  # fmt: skip


def _log(label: str, indicators: Sequence[Indicator], measured: Mapping[str, Measured], options: Options) -> None:
    """Log the first values of a checkpoint in one line, and every value that is alarming or undefined, and note, in its own."""
    said, images = [], 0
    for indicator in indicators:
        for metric, setting in indicator.metrics(options).items():
            row = pick(measured[indicator.name].scores, setting)
            value = "is not defined" if row.value is None else f"{row.value:.4f}"
            if row.value is not None and not ALARMING & row.flags.keys():
                said.append(f"{metric} {value}")
                images = len(measured[indicator.name].images)
            elif NO_HEAD not in row.flags:  # of which the pass has warned
                flags = "".join(f", {name} {number}" for name, number in row.flags.items())
                log.warning("%s: %s %s (%d images%s)", label, metric, value, len(measured[indicator.name].images), flags)
        for note in measured[indicator.name].notes:
            log.warning("%s: %s", label, note)
    if said:
        more = f" and {counted(len(said) - SAID, 'other value')}" if len(said) > SAID else ""
        log.info("%s: %s%s (%d images)", label, ", ".join(said[:SAID]), more, images)
