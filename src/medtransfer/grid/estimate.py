"""When a study ends: a range from the durations of finished jobs of the same kind, or what it is not known for."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.environment import machine
from medtransfer.finetune.protocol import Protocol
from medtransfer.grid.jobs import Job

NORMAL = 2.0  # standard deviations: about 95 %
UNMEASURED_SPREAD = 0.3  # relative standard deviation of durations as long as no kind of job has ended twice
UNLIKE = 2.0  # factor on the only durations known, of another target, encoder, mode or size
REUSED = 10  # a job that took as many times less than the longest one of its kind has found its result, and is left out
WORDS = {"prepare": "preparation", "pretrain": "pretraining", "score": "scoring", "finetune": "fine-tuning"}


class Kind(NamedTuple):
    """Jobs of one kind take about as long."""

    job: str
    target: str = ""
    encoder: str = ""
    mode: str = ""
    size: str = "None"

    @classmethod
    def of(cls, job: Job) -> "Kind":
        """Return the kind of a job; the epoch and the seed of a cell make no difference."""
        cell = job.cell
        return cls(job.kind, job.target, job.encoder, cell.mode if cell else "", str(cell.size) if cell else "None")


@dataclass(frozen=True)
class Remaining:
    """Estimated seconds until the end.

    Attributes:
        low: they take at least this long, with about 97 %.
        high: and at most this long, likewise.
        unknown: commands of which no job has ended, so that their jobs are in neither.
    """

    low: float
    high: float
    unknown: tuple[str, ...]


class Durations:
    """Durations of finished jobs by kind."""

    def __init__(self, earlier: Mapping[Kind, Iterable[float]] | None = None) -> None:
        """Start with those of earlier runs."""
        self._seconds: defaultdict[Kind, list[float]] = defaultdict(list)
        for kind, seconds in (earlier or {}).items():
            self._seconds[kind] += seconds

    def add(self, job: Job, seconds: float) -> None:
        """Add the duration of a job that is done."""
        self._seconds[Kind.of(job)].append(seconds)

    def remaining(self, left: Mapping[Kind, int], at_once: Mapping[str, float], *, begun: bool = True) -> Remaining:
        """Estimate the time that jobs take which are waiting or running.

        Each job takes its part of the machine, the reciprocal of how many of it run at once. List scheduling ends at most the
        longest chain of jobs later than this ideal (Graham, Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17,
        1969), and the jobs that are running may be nearly done; before any runs, the end is as far off as the longest of them, at
        least. A sum of k durations that are known by the mean of n has the variance s² (k + k² / n). Jobs of a kind of which none
        has ended take between the shortest and the longest mean of the same command.

        Args:
            left: number of jobs by kind.
            at_once: number of jobs that run at once, by command.
            begun: whether some of them are running.
        """
        measured = {
            kind: [value for value in values if REUSED * value >= max(values)] for kind, values in self._seconds.items() if values
        }  # fmt: skip
        means = {kind: fmean(values) for kind, values in measured.items()}
        spread = _pooled_spread(measured)
        ideal = variance = low = high = least = 0.0
        longest = dict.fromkeys(WORDS, 0.0)
        unknown = dict[str, None]()
        for kind, count in left.items():
            if not count:
                continue
            share = count / at_once[kind.job]
            like = [mean for other, mean in means.items() if other.job == kind.job]
            if kind in means:
                ideal += share * means[kind]
                variance += (spread * means[kind] / at_once[kind.job]) ** 2 * (count + count**2 / len(measured[kind]))
                longest[kind.job] = max(longest[kind.job], means[kind])
                least = max(least, means[kind] * (1 - NORMAL * spread))
            elif like:
                factor = UNLIKE if len(like) == 1 else 1.0
                low, high = low + share * min(like) / factor, high + share * max(like) * factor
                longest[kind.job] = max(longest[kind.job], max(like) * factor)
            else:
                unknown[kind.job] = None
        error = NORMAL * math.sqrt(variance)
        chain = max(longest["prepare"], longest["pretrain"]) + max(longest["score"], longest["finetune"])
        running, least = (max(longest.values()), 0.0) if begun else (0.0, least)
        return Remaining(max(least, ideal + low - error - running, 0.0), ideal + high + error + chain, tuple(unknown))


def _pooled_spread(measured: Mapping[Kind, list[float]]) -> float:
    """Return the standard deviation of durations relative to the mean of their kind, over all kinds."""
    squares = freedom = 0.0
    for values in measured.values():
        mean = fmean(values)
        squares += sum((value / mean - 1) ** 2 for value in values) if mean else 0.0
        freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom else UNMEASURED_SPREAD


def read_earlier(params: Params, left: Iterable[Job]) -> dict[Kind, list[float]]:
    """Read the durations of earlier fine-tunings by the same recipe on the same kind of machine from the tracking store."""
    wanted = Counter(Kind.of(job) for job in left if job.cell)
    if not wanted:
        return {}
    here, protocol = machine(), Protocol.of(params.finetune).key
    seconds: defaultdict[Kind, list[float]] = defaultdict(list)
    for run in tracking.read_runs("finetune", only=("target", "encoder", "mode", "size", "protocol", "seconds", "machine")):
        fields = {"size": "None", **run.params}
        if run.tags.get("machine") != here or fields.get("protocol") != protocol or "seconds" not in run.tags:
            continue
        kind = Kind("finetune", *(fields.get(name, "") for name in ("target", "encoder", "mode", "size")))
        if kind in wanted:
            seconds[kind].append(float(run.tags["seconds"]))
    return dict(seconds)
