"""Measure the geometry of every checkpoint of one pretraining on one target, resumable by checkpoint."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtransfer.config import Score as Section
from medtransfer.errors import InputError
from medtransfer.explain.geometry import SAMPLE, Geometry
from medtransfer.indicators.contract import Measured
from medtransfer.indicators.streamed_pass import measure
from medtransfer.locks import exclusive
from medtransfer.progress import track
from medtransfer.records import (
    BROKEN_ARRAYS,
    CheckpointInfo,
    PreparedTarget,
    Scores,
    checkpoint_path,
    list_checkpoints,
    read_values,
    series_folder,
    write_values,
)
from medtransfer.score.options import options_of, settings_of, views_of
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.checkpoints import load_encoder
from medtransfer.training.device import open_fabric
from medtransfer.wording import counted

REFERENCE = "last.npz"  # sampled pixels of the last checkpoint, which CKA compares with
Samples = dict[int, NDArray[np.float32]]  # by level

log = logging.getLogger("medtransfer")


def measure_series(out: Path, series: Path, target: PreparedTarget, section: Section) -> tuple[dict[int, Scores], dict[int, int]]:
    """Measure every checkpoint, the last one first; those on disk of the same weights, images and settings are reused.

    Args:
        out: folder of the measured features of all pretrainings and targets.
        series: folder of the checkpoints.
        target: its images are those that scores are computed on.
        section: validated params of the scores.

    Returns:
        The values by epoch, and the width of each level, counted from the end.

    Raises:
        InputError: there are no checkpoints, or they are of several pretrainings.
    """
    infos = list_checkpoints(series)
    if len({info.pretraining for info in infos.values()}) > 1:
        raise InputError(f"expected the checkpoints of one pretraining in {series}, but got several; keep one per folder")
    first = infos[min(infos)]
    folder = series_folder(out / target.info.target, first.encoder, first.origin)
    with exclusive(folder):
        scores = SeriesFeatures(folder, series, infos, target, section).measure()
    return scores, {-level: channels for level, (_, channels) in enumerate(reversed(first.levels), start=1)}


class SeriesFeatures:
    """Reads and measures the features of single checkpoints."""

    def __init__(
        self, folder: Path, series: Path, infos: Mapping[int, CheckpointInfo], target: PreparedTarget, section: Section
    ) -> None:  # fmt: skip
        """Take the folder of the results, and the arguments of `measure_series`."""
        self._folder, self._series, self._infos, self._target, self._section = folder, series, infos, target, section
        self._last = max(infos)
        self._settings = {**settings_of(section), "pixels": section.pixels, "last": infos[self._last].weights}

    def measure(self) -> dict[int, Scores]:
        """Return the scores of every epoch, measuring those that are not stored."""
        stored = {epoch: scores for epoch in self._infos if (scores := self._read(epoch)) is not None}
        missing = [epoch for epoch in sorted(self._infos) if epoch not in stored]
        if missing:
            name, target = self._series.name, self._target.info.target
            log.info("explain: measuring %s of %s on %s", counted(len(missing), "checkpoint"), name, target)
            reference = self._read_reference() if self._last in stored else None
            if reference is None:
                stored[self._last], reference = self._measure_last()
            rest = [epoch for epoch in missing if epoch != self._last]
            for epoch in track(rest, f"explain {self._target.info.target} {self._series.name}", len(rest), "checkpoints"):
                stored[epoch] = self._write(epoch, self._measure(epoch, reference))
        return {epoch: stored[epoch] for epoch in sorted(stored)}

    def _measure_last(self) -> tuple[Scores, Samples]:
        """Measure the last checkpoint and store its samples; its record must never stand beside others."""
        measured = self._measure(self._last, None)
        self._path(self._last).unlink(missing_ok=True)
        write_values(self._folder / REFERENCE, measured.images, measured.per_sample)
        return self._write(self._last, measured), self._by_level(measured.per_sample)

    def _measure(self, epoch: int, reference: Samples | None) -> Measured:
        info, section = self._infos[epoch], self._section
        fabric = open_fabric(section.accelerator, 1, section.precision)
        encoder = load_encoder(checkpoint_path(self._series, epoch), info)
        geometry = Geometry(len(info.levels), reference)
        with arithmetic(fabric.device, tf32=section.tf32, reproducible=True):
            return measure(
                [geometry], encoder, self._target, views_of(section), options_of(section), contract=info.input,
                batch_size=section.batch_size, device=fabric.device, autocast=fabric.autocast,
                label=f"explain {self._target.info.target} {self._series.name} epoch {epoch}",
            )[geometry.name]  # fmt: skip

    def _write(self, epoch: int, measured: Measured) -> Scores:
        info = self._infos[epoch]
        scores = Scores(
            target=self._target.info.target, data=self._target.info.fingerprint, encoder=info.encoder, origin=info.origin,
            source=info.source, epoch=epoch, pretraining=info.pretraining, weights=info.weights,
            source_accuracy=info.source_accuracy, images=len(measured.images), settings=self._settings, rows=measured.scores,
            notes={},
        )  # fmt: skip
        scores.write(self._path(epoch))
        return scores

    def _by_level(self, arrays: Mapping[str, NDArray[np.float32]]) -> Samples:
        return {-level: arrays[SAMPLE.format(-level)] for level in range(1, len(self._infos[self._last].levels) + 1)}

    def _path(self, epoch: int) -> Path:
        return checkpoint_path(self._folder, epoch)

    def _read(self, epoch: int) -> Scores | None:
        """Return the stored record if it is of the same weights, last checkpoint, images and settings."""
        info = self._infos[epoch]
        try:
            scores = Scores.read(self._path(epoch))
        except InputError:  # missing, of another version or broken
            return None
        stored = (scores.pretraining, scores.weights, scores.data, scores.settings)
        return scores if stored == (info.pretraining, info.weights, self._target.info.fingerprint, self._settings) else None

    def _read_reference(self) -> Samples | None:
        """Return the stored samples of the last checkpoint; None if they are missing or broken."""
        try:
            return self._by_level(read_values(self._folder / REFERENCE)[1])
        except BROKEN_ARRAYS:
            return None
