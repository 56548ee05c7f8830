"""Studies go on as if never killed, are shared by processes, never repeat a setting of a grid, and are others for other inputs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from medtransfer.errors import InputError
from medtransfer.search.evaluate import Case, Evaluator, Setting
from medtransfer.search.space import Space
from medtransfer.search.study import Plan, Trial, Work, create_studies, open_storage, run_studies

BEST = ("l2", -2)


@pytest.fixture
def evaluator(make_case: Callable[..., Case]) -> Evaluator:
    """Give two cases in both of which one distance and level finds the best checkpoint."""
    return Evaluator([make_case("moon", {BEST: 10, ("cosine", -1): 5}), make_case("sun", {BEST: 10})])


@pytest.fixture
def search(tmp_path: Path, evaluator: Evaluator) -> Callable[..., list[Trial]]:
    """Give a function that runs a study `s` in a journal and gives its trials."""

    def run(space: Space, trials: int, workers: int = 1, storage: str = str(tmp_path / "s.journal"), seed: int = 0) -> list[Trial]:
        plans = (Plan("s", space, (0, 1), "inputs"),)
        create_studies(open_storage(storage), plans)
        return run_studies(Work(evaluator, plans, storage, trials, seed), workers)["s"]

    return run


def stored(path: Path, *states: optuna.trial.TrialState) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name="s-inputs", storage=open_storage(str(path)))
    return study.get_trials(states=states or None)


def test_a_grid_is_covered_before_anything_is_tried_twice(search: Callable[..., list[Trial]], grid: Space):
    trials = search(grid, 10)
    assert [trial.number for trial in trials] == list(range(10))
    assert {trial.setting for trial in trials[:8]} == set(grid.settings())
    assert {trial.value for trial in trials} == {1.0, 0.625, 0.5}
    assert all((trial.value == 1.0) == ((trial.setting.distance, trial.setting.level) == BEST) for trial in trials)


def test_tpe_comes_back_to_what_was_good(search: Callable[..., list[Trial]], line: Space):
    trials = search(line, 60)
    assert all(0 <= trial.setting.margin <= 1 for trial in trials)
    late = [trial.value for trial in trials[30:]]
    assert sum(value == 1.0 for value in late) > len(late) / 2  # by chance a quarter


def test_a_stopped_study_goes_on_as_if_it_had_not_been(search: Callable[..., list[Trial]], line: Space, tmp_path: Path):
    whole = search(line, 25)
    other = str(tmp_path / "other.journal")
    assert search(line, 12, storage=other) == whole[:12]
    assert search(line, 25, storage=other) == whole
    assert search(line, 25, storage=other) == whole
    assert len(stored(tmp_path / "other.journal")) == 25
    assert search(line, 25, storage=str(tmp_path / "seed.journal"), seed=1) != whole


def test_fewer_trials_are_the_first_ones(search: Callable[..., list[Trial]], line: Space):
    assert search(line, 12) == search(line, 12)
    assert search(line, 5) == search(line, 12)[:5]


def test_another_storage_gives_the_same_trials(search: Callable[..., list[Trial]], line: Space, tmp_path: Path):
    assert search(line, 13, storage=f"sqlite:///{tmp_path / 'a.db'}") == search(line, 13)


@dataclass(frozen=True)
class Shared:
    """A checkpoint that gives no answer before two processes have asked."""

    folder: Path
    deadline: float

    def robustness(self, margin: float) -> float:
        (self.folder / f"{os.getpid()}.pid").touch()
        while len(list(self.folder.glob("*.pid"))) < 2:
            assert time.time() < self.deadline, "no second process came"
            time.sleep(0.02)
        return margin


def test_a_storage_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(InputError, match=r"an Optuna storage at postgresql://me:\*\*\*@127.0.0.1:1/none, but") as caught:
        open_storage("postgresql://me:a-secret@127.0.0.1:1/none")
    assert "a-secret" not in str(caught.value)


def test_several_processes_share_a_study(line: Space, tmp_path: Path):
    shared = Shared(tmp_path, time.time() + 120)
    scores = {(distance, level, False): {1: shared} for distance in line.distances for level in line.levels}
    evaluator = Evaluator([Case("c", "unet", "moon", "full", {1: 1.0}, scores, "f")])
    plans, address = (Plan("s", line, (0,), "inputs"),), str(tmp_path / "s.journal")
    create_studies(open_storage(address), plans)
    trials = run_studies(Work(evaluator, plans, address, 30, 0), 2)["s"]
    assert len({trial.setting for trial in trials}) == 30
    assert 30 <= len(stored(tmp_path / "s.journal")) <= 31
    assert len(list(tmp_path.glob("*.pid"))) == 2


def test_commands_at_once_share_a_study(search: Callable[..., list[Trial]], line: Space):
    """Each goes through the journal on its own, as two commands do."""
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(search, line, 30) for _ in range(2))
    assert first.result() == second.result()
    assert len({trial.setting for trial in first.result()}) == 30


KILLED = """
import time, sys
from pathlib import Path
from medtransfer.search.evaluate import Case, Evaluator
from medtransfer.search.space import Space
from medtransfer.search.study import Plan, Work, create_studies, open_storage, take_part

class Slow:
    def robustness(self, margin):
        time.sleep(0.02)
        return 0.5

scores = {(d, l, False): {1: Slow()} for d in ("cosine", "l2") for l in (-1, -2)}
cases = [Case("c", "unet", "moon", "full", {1: 1.0}, scores, "f")]
plan = Plan("s", Space(("cosine", "l2"), (0.0, 1.0), (), (-1, -2), ("frozen",)), (0,), "inputs")
create_studies(open_storage(sys.argv[1]), [plan])
take_part(Work(Evaluator(cases), (plan,), sys.argv[1], 1000, 0))
"""


def test_a_killed_search_goes_on(search: Callable[..., list[Trial]], line: Space, tmp_path: Path):
    path = tmp_path / "s.journal"
    src = Path(__file__).parents[2] / "src"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], env={**os.environ, "PYTHONPATH": str(src)})
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_text().count('"state":1') < 5:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / "s.journal.lock").unlink(missing_ok=True)  # a kill while writing holds the lock for half a minute
    done = stored(path, optuna.trial.TrialState.COMPLETE)
    trials = search(line, len(done) + 5)
    assert [trial.number for trial in trials[: len(done)]] == [one.number for one in done]
    assert len(trials) == len(done) + 5


def test_other_inputs_are_another_study(search: Callable[..., list[Trial]], line: Space, tmp_path: Path):
    search(line, 2)
    storage = open_storage(str(tmp_path / "s.journal"))
    create_studies(storage, [Plan("s", line, (0,), "others")])
    assert {one.study_name: one.n_trials for one in optuna.get_all_study_summaries(storage)} == {"s-inputs": 2, "s-others": 0}


@pytest.mark.parametrize("address", ["nonsense://x", "sqlite:////no/such/folder/x.db", "/no/such/folder/x.journal"])
def test_a_storage_that_cannot_be_opened_is_named(address: str):
    with pytest.raises(InputError, match=f"expected an Optuna storage at {address}"):
        open_storage(address)


def test_the_lock_beside_a_journal_leads_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Optuna waits for ever for a dead process's lock when the link, its lock, is dangling."""
    monkeypatch.chdir(tmp_path)
    Path("search").mkdir()
    lock = open_storage("search/s.journal")._backend._lock  # type: ignore[attr-defined]
    assert lock.acquire()
    assert (tmp_path / "search" / "s.journal.lock").stat()
    lock.release()


def test_a_setting_reads_well():
    assert str(Setting("cosine", 0.123456, -2, "frozen")) == "cosine, margin 0.1235, level -2, pooling frozen"
