"""Four processes share studies on PostgreSQL; one of them is killed mid-way, and every trial counts once."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState

from medtransfer.search.evaluate import Case, Evaluator
from medtransfer.search.space import Space
from medtransfer.search.study import Plan, Work, create_studies, open_storage, run_studies

pytestmark = pytest.mark.slow
WORKERS, TRIALS = 4, 60


class Slow:
    """A checkpoint whose robustness takes a moment, so that the processes work side by side."""

    def __init__(self, value: float) -> None:
        self.value = value

    def robustness(self, margin: float) -> float:
        """Give the robustness after a moment."""
        time.sleep(0.01)
        return self.value * (1 - (margin - 0.3) ** 2)


def kill_one(work: Work, killed: list[int]) -> None:
    """Kill one of the further processes when some trials are finished."""
    studies = [optuna.load_study(study_name=plan.key, storage=open_storage(work.storage)) for plan in work.plans]
    while len(studies[0].get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 25:
        time.sleep(0.05)
    victim = multiprocessing.active_children()[0]
    assert victim.pid is not None and victim.is_alive()
    os.kill(victim.pid, signal.SIGKILL)
    killed.append(victim.pid)


def test_a_killed_process_takes_no_trial_with_it(postgresql: Callable[[], str], line: Space) -> None:
    scores = {(distance, level, pooled): {0: Slow(0.1), 1: Slow(0.2), 5: Slow(0.9)}
              for distance in line.distances for level in line.levels for pooled in (False, True)}  # fmt: skip
    case = Case("unet moon full", "unet", "moon", "full", {0: 0.5, 1: 0.7, 5: 1.0}, scores, "made up")
    plans = tuple(Plan(name, line, (0,), "i") for name in ("first", "second"))
    work = Work(Evaluator([case]), plans, postgresql(), TRIALS, 0)
    create_studies(open_storage(work.storage), plans)
    killed: list[int] = []
    killer = threading.Thread(target=kill_one, args=(work, killed), daemon=True)
    killer.start()
    found = run_studies(work, WORKERS)
    killer.join(60)
    assert len(killed) == 1
    for plan in plans:
        assert len({trial.number for trial in found[plan.name]}) == TRIALS
        study = optuna.load_study(study_name=plan.key, storage=open_storage(work.storage))
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        assert TRIALS <= len(complete) < TRIALS + WORKERS  # of processes that end together, some run one more
        left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        assert len(left) <= 1  # the one that was killed, which never counts
