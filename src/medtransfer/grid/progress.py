"""Progress of a study: job counts and remaining time, on the terminal and in the tracking store."""

import logging
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

from medtransfer import tracking
from medtransfer.grid.jobs import Job
from medtransfer.grid.worker import Outcome

log = logging.getLogger("medtransfer")
SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_POINTS = 15.0, 10.0


class StudyProgress:
    """Counts jobs and cells (fine-tunings), and shows a bar on a terminal or sparse log lines elsewhere."""

    def __init__(self, jobs: Sequence[Job], workers: int, run: tracking.Run) -> None:
        """Start counting.

        Args:
            jobs: all jobs of the study.
            workers: number of jobs that run at once.
            run: run of the study, to which the counts are logged as metrics.
        """
        self.left = Counter(job.kind for job in jobs)
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.workers, self.run = workers, run
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.shown = self.logged = time.monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=len(jobs), desc="grid", unit="job", dynamic_ncols=True)

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Count a job that is done or has failed after all attempts."""
        succeeded = outcome.status == "done"
        self.left[job.kind] -= 1
        (self.done if succeeded else self.failed)[job.kind] += 1
        if succeeded:
            self.seconds[job.kind].append(outcome.seconds)
        else:
            log.warning("grid: %s failed: %s", job.name, outcome.reason)
        self._show()

    def drop(self, job: Job) -> None:
        """Remove a job whose checkpoint does not exist from the counts."""
        self.left[job.kind] -= 1
        if self.bar is not None:
            self.bar.total -= 1

    def seconds_left(self) -> float | None:
        """Estimate the remaining seconds from the mean duration of each kind of job; None before the first job is done.

        Reused results take almost no time, so durations below a tenth of the longest are left out of the mean.
        """
        means = {kind: fmean(value for value in values if value >= max(values) / 10) for kind, values in self.seconds.items()}
        if not means:
            return None
        fallback = max(means.values())
        return sum(count * means.get(kind, fallback) for kind, count in self.left.items()) / self.workers

    def metrics(self) -> dict[str, float]:
        """Return the counts and the estimated seconds left, by metric name."""
        left = self.seconds_left()
        kinds = {"cells": ["finetune"], "jobs": list(self.left)}
        counts = {"done": self.done, "failed": self.failed, "remaining": self.left}
        metrics = {
            f"{name}_{word}": float(sum(count[kind] for kind in some))
            for name, some in kinds.items() for word, count in counts.items()
        }  # fmt: skip
        return metrics | ({} if left is None else {"seconds_left": left})

    def summary(self) -> str:
        """Return one line of counts with the estimated end of the study."""
        metrics, left = self.metrics(), self.seconds_left()
        done, failed, remaining = (int(metrics[f"cells_{name}"]) for name in ("done", "failed", "remaining"))
        text = f"{done} cells done, {failed} failed, {remaining} remaining"
        others = sum(count for kind, count in self.left.items() if kind != "finetune")
        text += f", and {others} preparations, pretrainings and scores" if others else ""
        if left is None or not sum(self.left.values()):
            return text
        end = datetime.now() + timedelta(seconds=left)
        return f"{text}; ends about {end:%H:%M}" + (f" on {end:%d %B}" if end.date() > datetime.now().date() else "")

    def _show(self) -> None:
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(1)
            self.bar.set_postfix_str(self.summary())
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
