"""Plans of studies and a storage go in; finished trials, resumed and shared between processes, come out."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from medtransfer import tracking
from medtransfer.errors import InputError
from medtransfer.progress import track
from medtransfer.search.evaluate import Evaluator, Setting
from medtransfer.search.sampling import SettingSampler
from medtransfer.search.space import Space

log = logging.getLogger("medtransfer")
SECONDS_TO_END, OLDEST = 5.0, timedelta(minutes=1)  # that a trial, which takes milliseconds, may take


@dataclass(frozen=True)
class Plan:
    """One study: its name, its space, the places of the cases that its objective averages, and a digest of all these."""

    name: str
    space: Space
    places: tuple[int, ...]
    inputs: str

    @property
    def key(self) -> str:
        """Give the study's name in the storage: with other results, another space or seed it is another study."""
        return f"{self.name}-{self.inputs}"


@dataclass(frozen=True)
class Trial:
    """A finished trial: its number in the study, the setting that it tried and the objective, mean TIS offline."""

    number: int
    setting: Setting
    value: float


@dataclass(frozen=True)
class Work:
    """All that a process needs to take part in a search."""

    evaluator: Evaluator
    plans: tuple[Plan, ...]
    storage: str
    trials: int
    seed: int


def open_storage(address: str) -> BaseStorage:
    """Open an Optuna storage.

    Args:
        address: a database URL such as `sqlite:///search.db`, or the path of a journal file.

    Raises:
        InputError: it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if "://" in address:
            patience = {"timeout": 60} if address.startswith("sqlite") else tracking.connecting(address)
            return RDBStorage(address, engine_kwargs={"connect_args": patience})
        # Absolute, since the lock beside the journal is a link to it, and a link that leads nowhere is waited for forever.
        return JournalStorage(JournalFileBackend(str(Path(address).resolve())))
    except Exception as fault:  # Optuna, SQLAlchemy and the database drivers each raise their own
        shown = tracking.shown(address)
        reason = " ".join(str(fault).split())[:300].replace(address, shown)
        raise InputError(
            f"expected an Optuna storage at {shown}, but it cannot be opened ({reason}); correct search.storage or mend it"
        ) from None


def create_studies(storage: BaseStorage, plans: Sequence[Plan]) -> None:
    """Create the studies that are not there yet."""
    for plan in plans:
        optuna.create_study(storage=storage, study_name=plan.key, direction="maximize", load_if_exists=True)


def run_studies(work: Work, workers: int) -> dict[str, list[Trial]]:
    """Run all studies until each has its number of finished trials, in this process and further ones.

    Args:
        work: what to do; the studies are there.
        workers: processes in all.

    Returns:
        By study, the first finished trials in the order of their numbers, as many as were asked for.
    """
    spawn = get_context("spawn")
    others = [spawn.Process(target=take_part, args=(work,), daemon=True) for _ in range(workers - 1)]
    for one in others:
        one.start()
    try:
        take_part(work)
        for one in others:
            one.join()
    finally:
        for one in others:
            one.terminate()
    if failed := [one.exitcode for one in others if one.exitcode]:
        log.warning("search: %d of %d processes failed; the others ran their trials", len(failed), workers)
    storage, ended = open_storage(work.storage), {}
    for plan in work.plans:
        study = optuna.load_study(study_name=plan.key, storage=storage)
        _wait_for_the_running(study)
        ended[plan.name] = finished(study, work.trials)
    return ended


def _wait_for_the_running(study: optuna.Study) -> None:
    """Wait for trials of other processes: one may end before the last that is there, and must count for all processes or none.

    One that was killed stays running for ever; it is left alone when it has had its time.
    """
    end = time.monotonic() + SECONDS_TO_END
    while time.monotonic() < end:
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        started = [one.datetime_start for one in running if one.datetime_start]
        if not any(datetime.now() - begin < OLDEST for begin in started):
            return
        time.sleep(0.02)


def take_part(work: Work) -> None:
    """Run trials of every study that still needs some."""
    storage = open_storage(work.storage)
    for plan in work.plans:
        sampler = SettingSampler(plan.space, work.seed)
        study = optuna.load_study(study_name=plan.key, storage=storage, sampler=sampler)
        left = max(0, work.trials - len(_complete(study)))
        for _ in track(_until(study, work.trials), plan.name, left, "trials"):
            _try_one(study, plan, work.evaluator)


def _until(study: optuna.Study, trials: int) -> Iterator[None]:
    while len(_complete(study)) < trials:
        yield


def _try_one(study: optuna.Study, plan: Plan, evaluator: Evaluator) -> None:
    trial = study.ask(plan.space.distributions())
    study.tell(trial, evaluator.mean_tis(Setting(**trial.params), plan.places))


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def finished(study: optuna.Study, trials: int) -> list[Trial]:
    """Give the trials that finished first, by number; of processes that end together, some run one more, which never counts."""
    first = sorted(_complete(study), key=lambda one: (one.datetime_complete or datetime.max, one.number))[:trials]
    return [Trial(one.number, Setting(**one.params), one.values[0]) for one in sorted(first, key=lambda one: one.number)]
