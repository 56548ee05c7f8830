"""Progress of a study: job counts and remaining time, on the terminal and in the tracking store."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from medtransfer import tracking
from medtransfer.grid.estimate import WORDS, Durations, Kind, Remaining
from medtransfer.grid.jobs import Job
from medtransfer.grid.worker import Outcome
from medtransfer.progress import bar, on_terminal
from medtransfer.wording import counted

log = logging.getLogger("medtransfer")
SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_POINTS = 15.0, 10.0
BAR = "grid: {n_fmt}/{total_fmt} jobs |{bar:12}| {elapsed}{postfix}"  # narrow, since the end of a line may be cut off


class StudyProgress:
    """Counts jobs and cells (fine-tunings), and shows a bar on a terminal or sparse log lines elsewhere."""

    def __init__(
        self, jobs: Sequence[Job], at_once: Mapping[str, float], run: tracking.Run, reused: Sequence[Job] = (),
        durations: Durations | None = None, in_queue: bool = False, on_done: Callable[[Job], None] = lambda job: None,
    ) -> None:  # fmt: skip
        """Start counting.

        Args:
            jobs: jobs of the study that are to do.
            at_once: number of jobs that run at once, by kind; infinity if it is not known.
            run: run of the study, to which the counts are logged as metrics.
            reused: jobs that are done already.
            durations: those of earlier jobs.
            in_queue: whether jobs also wait in the queue of a cluster, for as long as nobody knows.
            on_done: called with each job that is done.
        """
        self.left = Counter(job.kind for job in jobs)
        self.like = Counter(Kind.of(job) for job in jobs)
        self.done: Counter[str] = Counter(job.kind for job in reused)
        self.failed: Counter[str] = Counter()
        self.at_once, self.run, self.in_queue, self._on_done = at_once, run, in_queue, on_done
        self.durations = durations or Durations()
        self.shown = self.logged = time.monotonic()
        self.bar: Any = None
        if on_terminal():
            self.bar = bar(total=len(jobs), desc="grid", bar_format=BAR)

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Count a job that is done or has failed after all attempts."""
        succeeded = outcome.status == "done"
        self.left[job.kind] -= 1
        self.like[Kind.of(job)] -= 1
        (self.done if succeeded else self.failed)[job.kind] += 1
        if succeeded:
            self.durations.add(job, outcome.seconds)
            self._on_done(job)
        else:
            log.warning("grid: %s failed: %s", job.name, outcome.reason)
        self._show()

    def drop(self, job: Job) -> None:
        """Remove a job whose checkpoint does not exist from the counts."""
        self.left[job.kind] -= 1
        self.like[Kind.of(job)] -= 1
        if self.bar is not None:
            self.bar.total -= 1

    def remaining(self) -> Remaining:
        """Estimate the remaining seconds from the durations of finished jobs."""
        return self.durations.remaining(self.like, self.at_once)

    def metrics(self) -> dict[str, float]:
        """Return the counts and the estimated seconds left, by metric name."""
        kinds = {"cells": ["finetune"], "jobs": list(self.left)}
        counts = {"done": self.done, "failed": self.failed, "remaining": self.left}
        metrics = {
            f"{name}_{word}": float(sum(count[kind] for kind in some))
            for name, some in kinds.items() for word, count in counts.items()
        }  # fmt: skip
        if not self._is_limited() or (left := self.remaining()).unknown:
            return metrics
        return metrics | {"seconds_left": (left.low + left.high) / 2, "seconds_left_low": left.low, "seconds_left_high": left.high}

    def summary(self) -> str:
        """Return one line of counts with the estimated end of the study."""
        return f"{self.counts()}; {self._end()}" if sum(self.left.values()) else self.counts()

    def counts(self) -> str:
        """Return one line of counts."""
        metrics = self.metrics()
        done, failed, remaining = (int(metrics[f"cells_{name}"]) for name in ("done", "failed", "remaining"))
        text = f"{counted(done, 'cell')} done, {failed} failed, {remaining} remaining"
        others = sum(count for kind, count in self.left.items() if kind != "finetune")
        return text + (f", and {counted(others, 'other job')}" if others else "")

    def _brief(self) -> str:
        """Return the estimated end, then the counts, for a line that may be cut off."""
        end = self._end() if sum(self.left.values()) else "done"
        return f"{end}; {counted(self.done['finetune'], 'cell')} done, {self.failed['finetune']} failed"

    def _end(self) -> str:
        """Say when the study ends, as far as it is known."""
        if not self._is_limited():
            return "the end depends on how many jobs the cluster runs at once"
        left = self.remaining()
        return describe_end(left, datetime.now()) + (", without waiting in the queue" if self.in_queue and left.high else "")

    def _is_limited(self) -> bool:
        """Return whether it is known how many jobs run at once."""
        return math.inf not in self.at_once.values()

    def _show(self) -> None:
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(1)
            self.bar.set_postfix_str(self._brief())
        elif now - self.shown > SECONDS_BETWEEN_LINES:
            log.info("grid: %s", self.summary())
            self.shown = now
        if now - self.logged > SECONDS_BETWEEN_POINTS:
            self.log_metrics()
            self.logged = now

    def log_metrics(self) -> None:
        """Log the counts to the store; the step is the number of finished jobs."""
        self.run.log_metrics(self.metrics(), sum(self.done.values()) + sum(self.failed.values()))

    def close(self) -> None:
        """Close the progress bar."""
        if self.bar is not None:
            self.bar.close()


def describe_end(left: Remaining, now: datetime) -> str:
    """Say when the remaining jobs will have ended, as a range, and what is not known yet."""
    words = [WORDS[kind] for kind in WORDS if kind in left.unknown]
    listed = " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
    unknown = f"unknown until the first {listed} {'have' if len(words) > 1 else 'has'} finished"
    if left.unknown:
        return f"the end is {unknown}" if left.low < 60 else f"ends after {_clock(now, left.low)}, the rest is {unknown}"
    low, high = _clock(now, left.low), _clock(now, left.high)
    return f"ends about {low}" if low == high else f"ends between {low} and {high}"


def _clock(now: datetime, seconds: float) -> str:
    end = now + timedelta(seconds=seconds)
    return f"{end:%H:%M}" + (f" on {end.day} {end:%B}" if end.date() > now.date() else "")
