"""Measure one candidate: the indicators that its stored record lacks, in one streamed pass."""

import logging
import math
import re
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from medtransfer.config import Params, Score
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.indicators.contract import Indicator, pick
from medtransfer.indicators.registry import INDICATORS, find_indicators
from medtransfer.indicators.requirements import needs_head
from medtransfer.indicators.streamed_pass import measure
from medtransfer.locks import exclusive
from medtransfer.rank.candidates import Candidate
from medtransfer.rank.feature_maps import draw_map, has_map, map_file
from medtransfer.rank.identity import head_digest, identify
from medtransfer.rank.loading import Loaded, load
from medtransfer.rank.settings import scoring, shared_settings
from medtransfer.records import IMAGE_TASKS, PreparedTarget
from medtransfer.records.ranked import RankedCandidate
from medtransfer.score.options import options_of, views_of
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.device import open_fabric

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Measure:
    """The work of measuring one candidate, which any launcher runs.

    Attributes:
        candidate: the candidate.
        target: folder of the prepared target.
        indicators: names of the indicators.
        mode: mode of transfer that is predicted, a key of MODES.
        record: path of the record that it writes.
    """

    candidate: Candidate
    target: str
    indicators: tuple[str, ...]
    mode: str
    record: str

    @property
    def name(self) -> str:
        """Name of the candidate."""
        return self.candidate.name

    @property
    def kind(self) -> str:
        """Return `score`, whose resources it takes."""
        return "score"

    @property
    def needs(self) -> frozenset["Measure"]:
        """Nothing: candidates do not depend on each other."""
        return frozenset()

    def devices(self, params: Params) -> int:
        """Return 1: a candidate is measured on one device."""
        return 1

    def needs_gpu(self, params: Params) -> bool:
        """Return whether a GPU is used where there is one."""
        return params.score.accelerator != "cpu"

    def is_done(self, params: Params) -> bool:
        """Return whether the candidate is measured: its record is of the same weights, images and settings.

        Raises:
            InputError: its weights do not exist.
        """
        target = PreparedTarget.open(Path(self.target)).verify()
        return not self._missing(self._stored(params, target, identify(self.candidate, params.score.seed)))

    def read(self) -> RankedCandidate:
        """Read the record of all that is measured of the candidate.

        Raises:
            InputError: it is missing or broken.
        """
        return RankedCandidate.read(Path(self.record))

    def _stored(self, params: Params, target: PreparedTarget, weights: str) -> RankedCandidate | None:
        """Return the record if it is of the same weights, images and settings, whichever indicators it has."""
        try:
            record = self.read()
        except InputError:  # missing, of another version or broken
            return None
        known = INDICATORS.keys() >= set(record.indicators)
        return record if known and record.cell == self._cell(record.indicators, params, target, weights) else None

    def _missing(self, stored: RankedCandidate | None) -> list[str]:
        """Return the indicators that are still to be measured."""
        return [name for name in self.indicators if stored is None or name not in stored.indicators]

    def _cell(self, indicators: Sequence[str], params: Params, target: PreparedTarget, weights: str) -> str:
        """Return the digest of everything that the measurement of some indicators depends on."""
        with_head = needs_head(find_indicators(indicators, "rank.indicators"))
        parts = [self.candidate.architectures, weights, target.info.fingerprint, *shared_settings(params)]
        parts += [head] if with_head and (head := head_digest(self.candidate)) else []
        parts += ["map"] if has_map(target) else []
        if target.info.task in IMAGE_TASKS:
            parts += ["balanced", *(["deepest"] if params.rank.level is None else [])]  # unlike in earlier versions
        return digest([*parts, list(indicators), self.mode, RankedCandidate.form()], 16)

    def run(self, params: Params) -> None:
        """Measure what the candidate's record lacks.

        Raises:
            InputError: its weights do not load whole, or its encoder does not fit the images.
        """
        path, section, rank = Path(self.record), scoring(params), params.rank
        target = PreparedTarget.open(Path(self.target)).verify()
        weights = identify(self.candidate, params.score.seed)
        with exclusive(path.with_suffix("")):
            stored = self._stored(params, target, weights)
            if not (names := self._missing(stored)):
                log.info("rank: %s is measured already; reused", self.name)
                return
            missing = find_indicators(names, "rank.indicators")
            known = [] if stored is None else find_indicators(stored.indicators, "rank.indicators")
            with_head = needs_head([*known, *missing])
            loaded = load(
                self.candidate, params.score.seed, max(target.info.input), params.rank.pickle, target.info.input_channels, with_head
            )  # fmt: skip
            log.info("rank: %s: %s; expects %s", self.name, loaded.audit, _describe(loaded, target))
            level = -1 if rank.level is None and target.info.task in IMAGE_TASKS else rank.level
            section = section.model_copy(update={"level": choose_level(loaded.encoder, rank.stride, level)})
            self._check(loaded.encoder, section.level, target, params.rank.images is None)
            record = self._measure(missing, section, target, loaded, weights)
            if stored is None:
                map_file(path).unlink(missing_ok=True)
            else:
                record = stored.extended(record)
            if has_map(target) and not map_file(path).exists():
                fabric = open_fabric(section.accelerator, 1, section.precision)
                draw_map(map_file(path), loaded.encoder, target, section.split, loaded.contract, section.seed, fabric)
            replace(record, cell=self._cell(record.indicators, params, target, weights)).write(path)

    def _check(self, encoder: Encoder, level: int, target: PreparedTarget, prepared: bool) -> None:
        target.require_size(encoder.multiple, f"{encoder.name} ({encoder.size_rule()})", prepared)
        if -level > (count := len(encoder.levels)):
            raise InputError(f"expected a level from -1 to -{count} for {self.name}, but got {level}; set rank.level")

    def _measure(
        self, indicators: Sequence[Indicator], section: Score, target: PreparedTarget, loaded: Loaded, weights: str
    ) -> RankedCandidate:  # fmt: skip
        """Return the record of a pass, still without its cell."""
        fabric = open_fabric(section.accelerator, 1, section.precision)
        options, encoder = options_of(section), loaded.encoder
        clock = Stopwatch(encoder, fabric.device)
        begin = time.perf_counter()
        forget_peak_memory(fabric.device)
        with arithmetic(fabric.device, tf32=section.tf32, reproducible=True):
            measured = measure(
                indicators, encoder, target, views_of(section), options, contract=loaded.contract,
                batch_size=section.batch_size, device=fabric.device, autocast=fabric.autocast, label=f"rank {self.name}",
                head=loaded.head,
            )  # fmt: skip
        seconds = time.perf_counter() - begin
        images = next(iter(measured.values())).images
        candidate = self.candidate
        return RankedCandidate(
            name=candidate.name, kind=candidate.kind, build=encoder.name, arguments=encoder.arguments, weights=weights,
            audit=loaded.audit, input=loaded.contract, levels=[[level.stride, level.channels] for level in encoder.levels],
            level=section.level, series=candidate.series, source=loaded.source, epoch=candidate.epoch,
            source_accuracy=loaded.source_accuracy, cell="", images=len(images),
            groups=_count_groups(target, section, len(images)),
            rows=[pick(measured[one.name].scores, one.watched(options, self.mode)) for one in indicators],
            notes={name: result.notes for name, result in measured.items() if result.notes},
            seconds=round(seconds, 3), forward_seconds=round(clock.seconds, 3), memory=round(peak_memory(fabric.device), 1),
            continues=candidate.continues, source_metric=loaded.source_metric,
        )  # fmt: skip


def choose_level(encoder: Encoder, stride: int, level: int | None) -> int:
    """Return the level to rank, counted from the end: the given one, or that of the nearest stride, the finer one in a tie."""
    if level is not None:
        return level
    distances = [abs(math.log2(other.stride / stride)) for other in encoder.levels]
    return distances.index(min(distances)) - len(distances)


def _describe(loaded: Loaded, target: PreparedTarget) -> str:
    contract, (height, width) = loaded.contract, target.info.input
    mean, std = (", ".join(f"{number:.3g}" for number in contract[name]) for name in ("mean", "std"))
    return f"{contract['size']} px, mean {mean}, std {std}, {contract['channels']}; gets {height}x{width} px so normalised"


def _count_groups(target: PreparedTarget, section: Score, images: int) -> int:
    """Count the groups of the images, which are chosen evenly over the groups."""
    return min(int(target.samples(section.split)["group"].nunique()), images)


class Stopwatch:
    """Adds up the time of an encoder's forward passes.

    Attributes:
        seconds: sum so far.
    """

    def __init__(self, encoder: Encoder, device: torch.device) -> None:
        """Start to watch."""
        self.seconds, self._begin, self._device = 0.0, 0.0, device
        encoder.register_forward_pre_hook(self._start)
        encoder.register_forward_hook(self._stop)

    def _start(self, encoder: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._begin = self._now()

    def _stop(self, encoder: torch.nn.Module, inputs: tuple[Tensor, ...], maps: list[Tensor]) -> None:
        self.seconds += self._now() - self._begin

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def forget_peak_memory(device: torch.device) -> None:
    """Let the peak memory of this process or GPU start again from what it holds now, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> float:
    """Return the peak memory of this process, or of the GPU that it used, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return float(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 2**10  # type: ignore[index]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # since the process began
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB elsewhere
