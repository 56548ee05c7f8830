"""The estimated end of a study, on jobs of known durations."""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.environment import machine
from medtransfer.finetune.protocol import Protocol
from medtransfer.grid.estimate import Durations, Kind, Remaining, read_earlier
from medtransfer.grid.jobs import Job, plan
from medtransfer.grid.progress import StudyProgress, describe_end
from medtransfer.grid.worker import DONE, Outcome
from medtransfer.hashing import digest
from medtransfer.records import CellName

FULL, DECODER = Kind("finetune", "a", "unet", "full"), Kind("finetune", "a", "unet", "decoder")
NOON = datetime(2024, 5, 1, 12, 0)


def jobs(mode: str, count: int, target: str = "a") -> list[Job]:
    return [Job.of(CellName(target, "unet", "simple", 1, mode, seed)) for seed in range(count)]


def measured(**seconds: Sequence[float]) -> Durations:
    durations = Durations()
    for mode, values in seconds.items():
        for job, value in zip(jobs(mode, len(values)), values, strict=True):
            durations.add(job, value)
    return durations


def test_the_range_is_that_of_the_formula() -> None:
    """Of 90 and 110 s the mean is 100 and s 14.142; of 8 more on 2 workers 400 +- 2 * 14.142 / 2 * sqrt(8 + 64 / 2) = 89.44."""
    left = measured(full=[90, 110]).remaining({FULL: 8}, {"finetune": 2})
    assert (left.low, left.high) == pytest.approx((400 - 89.44 - 100, 400 + 89.44 + 100), abs=0.01) and not left.unknown


def test_before_any_job_runs_the_end_is_as_far_off_as_the_longest_of_them() -> None:
    """One job of about 100 s on four workers does not end in a quarter of that."""
    durations, at_once = measured(full=[99, 101]), {"finetune": 4}
    assert durations.remaining({FULL: 1}, at_once, begun=False).low > 95
    assert durations.remaining({FULL: 1}, at_once).low == 0  # it may be nearly done
    assert durations.remaining({FULL: 40}, at_once, begun=False).low > 900
    assert Durations().remaining({FULL: 1}, at_once, begun=False).low == 0


def test_a_kind_that_has_not_ended_is_between_those_that_have() -> None:
    durations = measured(full=[100, 100], decoder=[40, 40])
    left = durations.remaining({Kind("finetune", "b", "unet", "full"): 6}, {"finetune": 3})
    assert (left.low, left.high) == (max(0, 2 * 40 - 100), 2 * 100 + 100)
    alone = measured(full=[100]).remaining({DECODER: 6}, {"finetune": 3})
    assert (alone.low, alone.high) == (0, 2 * 200 + 200)


def test_nothing_to_go_by_is_said() -> None:
    left = measured(full=[100, 100]).remaining({FULL: 4, Kind("pretrain", "", "unet"): 1}, {"finetune": 1, "pretrain": 1})
    assert left.unknown == ("pretrain",)
    assert describe_end(left, NOON) == "ends after 12:05, the rest is unknown until the first pretraining has finished"
    nothing = Durations().remaining({FULL: 4, Kind("score", "a"): 1}, {"finetune": 1, "score": 1})
    assert describe_end(nothing, NOON) == "the end is unknown until the first scoring and fine-tuning have finished"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (60, 3600, "ends between 12:01 and 13:00"),
        (60, 65, "ends about 12:01"),
        (60, 90000, "ends between 12:01 and 13:00 on 2 May"),
    ],
)
def test_the_end_is_a_range(low: float, high: float, text: str) -> None:
    assert describe_end(Remaining(low, high, ()), NOON) == text


@pytest.mark.parametrize(("low", "text"), [(30, "the end is unknown"), (7200, "ends after 14:00, the rest is unknown")])
def test_an_end_after_less_than_a_minute_says_nothing(low: float, text: str) -> None:
    assert describe_end(Remaining(low, low, ("score",)), NOON) == f"{text} until the first scoring has finished"


def test_the_range_holds_the_true_end() -> None:
    """600 simulated studies of 40 jobs on 4 workers, estimated when 6 are done; list scheduling is simulated by brute force."""
    rng, held, widths = np.random.default_rng(0), 0, []
    for _ in range(600):
        seconds = rng.lognormal(np.log(100), 0.25, 40)
        free, ends = [0.0] * 4, []
        for duration in seconds:
            ends.append(heapq.heappop(free) + duration)
            heapq.heappush(free, ends[-1])
        now = sorted(ends)[5]
        done = [duration for duration, end in zip(seconds, ends, strict=True) if end <= now]
        left = measured(full=done).remaining({FULL: 40 - len(done)}, {"finetune": 4})
        held += left.low <= max(ends) - now <= left.high
        widths.append((left.high - left.low) / (max(ends) - now))
    assert held / 600 >= 0.95 and np.median(widths) < 1


def test_the_estimate_is_updated_and_reused_results_do_not_shorten_it(workplace: Path) -> None:
    some = jobs("full", 40)
    with tracking.open_run("grid", "grid", "c", {}, {}) as run:
        progress = StudyProgress(some, {"finetune": 2}, run)
        assert progress.remaining().unknown == ("finetune",) and "seconds_left" not in progress.metrics()
        for job in some[:20]:
            progress.finish(job, Outcome(DONE, "", 0.1))
        progress.finish(some[20], Outcome(DONE, "", 600.0))
        first = progress.metrics()
        assert first["seconds_left"] == pytest.approx(19 * 600 / 2, rel=0.2)
        for job in some[21:30]:
            progress.finish(job, Outcome(DONE, "", 600.0))
    second = progress.metrics()
    width = [metrics["seconds_left_high"] - metrics["seconds_left_low"] for metrics in (first, second)]
    assert width[1] < width[0] / 2 and second["seconds_left_low"] <= 10 * 600 / 2 <= second["seconds_left_high"]


def test_the_wait_in_a_queue_is_no_part_of_the_end(workplace: Path) -> None:
    some = jobs("full", 4)
    with tracking.open_run("grid", "grid", "c", {}, {}) as run:
        limited = StudyProgress(some, {"finetune": 2}, run, in_queue=True)
        unlimited = StudyProgress(some, {"finetune": math.inf}, run, in_queue=True)
        for progress in (limited, unlimited):
            progress.finish(some[0], Outcome(DONE, "", 600.0))
    assert limited.summary().startswith("1 cell done, 0 failed, 3 remaining; ends ")
    assert limited.summary().endswith(", without waiting in the queue") and "seconds_left" in limited.metrics()
    assert unlimited.summary().endswith("3 remaining; the end depends on how many jobs the cluster runs at once")
    assert "seconds_left" not in unlimited.metrics()


def test_earlier_fine_tunings_count_on_the_same_kind_of_machine(workplace: Path, tiny_params: Callable[..., Params]) -> None:
    params = tiny_params()
    to_do = [job for job in plan(params) if job.cell]
    fields = {"target": "sample", "encoder": "unet", "mode": "full", "protocol": Protocol.of(params.finetune).key}
    others = [{"protocol": "another"}, {"target": "another"}]
    for changed in ({}, *others):
        values, tags = {**fields, **changed}, {"seconds": "60.0", "machine": machine()}
        tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(values, 16), values, {"dice": 0.5}, {}, tags)], "runs")
    slower = {**fields, "seed": 2}
    tags = {"seconds": "99.0", "machine": "another"}
    tracking.write_runs("finetune", [tracking.RunRecord("cell", digest(slower, 16), slower, {"dice": 0.5}, {}, tags)], "runs")
    assert read_earlier(params, to_do) == {Kind("finetune", "sample", "unet", "full"): [60.0]}
    assert Counter(Kind.of(job) for job in to_do)[Kind("finetune", "sample", "unet", "full")] == 8
