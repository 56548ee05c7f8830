"""Jobs that start and end go in; how far the study is, and when it will end, comes out on the terminal and in the store."""

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


class Board:
    """Counts jobs, and fine-tunings, the cells, among them; a bar on a terminal, sparse log lines elsewhere."""

    def __init__(self, jobs: Sequence[Job], workers: int, run: tracking.Run) -> None:
        """Take what there is to do.

        Args:
            jobs: all of them.
            workers: that work at once.
            run: of the study, which gets the counts as metrics.
        """
        self.left = Counter(job.kind for job in jobs)
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.workers, self.run = workers, run
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.said = self.logged = time.monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=len(jobs), desc="grid", unit="job", dynamic_ncols=True)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Count a job that is done or has failed for good."""
        good = outcome.status == "done"
        self.left[job.kind] -= 1
        (self.done if good else self.failed)[job.kind] += 1
        if good:
            self.seconds[job.kind].append(outcome.seconds)
        else:
            log.warning("grid: %s failed: %s", job.name, outcome.words)
        self._show()

    def dropped(self, job: Job) -> None:
        """Forget a job that turned out not to be one."""
        self.left[job.kind] -= 1
        if self.bar is not None:
            self.bar.total -= 1

    def seconds_left(self) -> float | None:
        """Estimate the seconds to the end from the mean of each kind so far; None before anything is known.

        Jobs that were finished before take next to nothing; counted, they would promise that the others do.
        """
        means = {kind: fmean(one for one in found if one >= max(found) / 10) for kind, found in self.seconds.items()}
        if not means:
            return None
        fallback = max(means.values())
        return sum(count * means.get(kind, fallback) for kind, count in self.left.items()) / self.workers

    def values(self) -> dict[str, float]:
        """Give the counts as metrics."""
        left = self.seconds_left()
        kinds = {"cells": ["finetune"], "jobs": list(self.left)}
        counts = {"done": self.done, "failed": self.failed, "remaining": self.left}
        found = {
            f"{name}_{word}": float(sum(count[kind] for kind in some))
            for name, some in kinds.items() for word, count in counts.items()
        }  # fmt: skip
        return found | ({} if left is None else {"seconds_left": left})

    def words(self) -> str:
        """Say how far the study is."""
        found, left = self.values(), self.seconds_left()
        text = f"{found['cells_done']:.0f} cells done, {found['cells_failed']:.0f} failed, {found['cells_remaining']:.0f} remaining"
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
            self.bar.set_postfix_str(self.words())
        elif now - self.said > SECONDS_BETWEEN_LINES:
            log.info("grid: %s", self.words())
            self.said = now
        if now - self.logged > SECONDS_BETWEEN_POINTS:
            self.point()
            self.logged = now

    def point(self) -> None:
        """Log the counts to the store, at the number of ended jobs."""
        self.run.log_metrics(self.values(), sum(self.done.values()) + sum(self.failed.values()))

    def close(self) -> None:
        """Leave the terminal to others."""
        if self.bar is not None:
            self.bar.close()
