"""Results that are made of the tracking store are made again when, and only when, something that they are made of has changed."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medtransfer import tracking
from medtransfer.config import loaded_files
from medtransfer.errors import InputError
from medtransfer.tracking.query import watching

pytestmark = pytest.mark.long

OUT = Path("reports")


def write(stage: str, cell: str, status: str = "") -> str:
    """Write a run and return its id."""
    with tracking.open_run(stage, cell, cell, {"target": "heart"}, {}) as run:
        run.log_metrics({"dice": 0.5})
    if status:
        tracking.connect().set_terminated(run.id, status)
    return run.id


class Maker:
    """Makes a result of the fine-tunings, two files and a run of the stage `report`, and counts how often."""

    def __init__(self) -> None:
        """Start with none made."""
        self.count = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.early = False  # whether it tells the states of the store itself

    def __call__(self) -> tracking.Made:
        """Make it."""
        self.count += 1
        assert isinstance(tracking.read_runs("finetune"), list) and isinstance(tracking.read_runs("score"), list)
        states = tracking.read_states() if self.early else None
        self.meanwhile()
        for name in ("report.md", "report.html"):
            (OUT / name).write_text(name, encoding="utf-8")
        with tracking.once("report", "report", "shown", {}) as handle:
            assert handle is None or handle.id
        return tracking.Made(["shown"], [OUT / "report.md", OUT / "report.html"], ["whole", "short"], states)


@pytest.fixture
def maker(workplace: Path) -> Maker:
    """Return a maker in a folder whose store has one fine-tuning."""
    OUT.mkdir()
    write("finetune", "first")
    return Maker()


@pytest.fixture
def made(maker: Maker) -> Callable[..., tuple[Sequence[str], int]]:
    """Function that asks for the result; it returns its texts and how often it was made in all."""

    def ask(request: object = 1, **options: bool) -> tuple[Sequence[str], int]:
        return tracking.make_of_store("report", OUT, request, lambda: maker, **options), maker.count

    return ask


def the_run(stage: str = "finetune") -> str:
    """Return the id of a stage's only run."""
    (run,) = tracking.read_runs(stage)
    return run.id


def experiment_of(run: str) -> str:
    """Return the id of a run's experiment."""
    return str(tracking.connect().get_run(run).info.experiment_id)


def edit_record(**values: object) -> None:
    """Change values of the record."""
    record = json.loads((OUT / "finished.json").read_text(encoding="utf-8"))
    (OUT / "finished.json").write_text(json.dumps({**record, **values}), encoding="utf-8")


CHANGES: dict[str, Callable[[MlflowClient], object]] = {
    "a new run": lambda client: write("finetune", "second"),
    "a first run of a stage that had none": lambda client: write("score", "second"),
    "a deleted run": lambda client: client.delete_run(the_run()),
    "a deleted experiment": lambda client: client.delete_experiment(experiment_of(the_run())),
    "a run that is not finished after all": lambda client: client.set_terminated(the_run(), "KILLED"),
    "a new tag": lambda client: client.set_tag(the_run(), "note", "x"),
    "a changed tag": lambda client: client.set_tag(the_run(), "mlflow.runName", "renamed"),
    "a new param": lambda client: client.log_param(the_run(), "mode", "full"),
    "a new metric": lambda client: client.log_metric(the_run(), "auc", 0.1),
    "another value of a metric": lambda client: client.log_metric(the_run(), "dice", 0.7),
    "its own run deleted": lambda client: client.delete_run(the_run("report")),
    "an edited file": lambda client: (OUT / "report.html").write_text("edited", encoding="utf-8"),
    "a missing file": lambda client: (OUT / "report.md").unlink(),
    "a damaged record": lambda client: (OUT / "finished.json").write_text("{", encoding="utf-8"),
    "a record without texts": lambda client: edit_record(texts=[]),
    "a record without runs": lambda client: edit_record(cells=[]),
    "another version of the code": lambda client: edit_record(request="0" * 12),
    "another presets' file": lambda client: loaded_files.remember([Path("mine.yaml")]),
}
NO_CHANGES: dict[str, Callable[[MlflowClient], object]] = {
    "nothing": lambda client: None,
    "a failed run": lambda client: write("finetune", "second", "FAILED"),
    "a run of a stage that is not read": lambda client: write("explain", "second"),
    "another run of its own stage": lambda client: write("report", "second"),
    "a file of the user's": lambda client: (OUT / "notes.txt").write_text("mine", encoding="utf-8"),
}


@pytest.mark.parametrize("change", [*CHANGES, *NO_CHANGES])
def test_a_result_is_made_again_when_something_has_changed(change: str, made: Callable[..., tuple[Sequence[str], int]]) -> None:
    assert made() == (["whole", "short"], 1) and made() == (["whole", "short"], 1)
    (CHANGES | NO_CHANGES)[change](tracking.connect())
    assert made() == (["whole", "short"], 2 if change in CHANGES else 1)
    assert (OUT / "report.html").read_text(encoding="utf-8") == "report.html"
    assert made()[1] == (2 if change in CHANGES else 1)


def test_it_is_made_again_on_demand(made: Callable[..., tuple[Sequence[str], int]]) -> None:
    assert [made(force=force)[1] for force in (False, True, False)] == [1, 2, 2]


def test_another_request_makes_it_again(made: Callable[..., tuple[Sequence[str], int]]) -> None:
    assert [made(request)[1] for request in (1, 2, 2, 1)] == [1, 2, 2, 3]


def test_further_runs_of_its_own_stage_count_if_it_is_made_of_them(made: Callable[..., tuple[Sequence[str], int]]) -> None:
    assert [made(own_runs=True)[1] for _ in range(2)] == [1, 1]
    tracking.connect().log_metric(the_run("report"), "dice", 0.1)
    assert [made(own_runs=True)[1] for _ in range(2)] == [2, 2]


def test_what_changes_while_it_is_made_makes_it_again(maker: Maker, made: Callable[..., tuple[Sequence[str], int]]) -> None:
    maker.meanwhile = lambda: write("finetune", "second")
    made()
    maker.meanwhile = lambda: None
    tracking.connect().delete_run(tracking.read_runs("finetune")[0].id)  # so that the store is as it was before
    assert [made()[1], made()[1]] == [2, 2]


def test_what_changes_after_all_was_read_makes_it_again(maker: Maker, made: Callable[..., tuple[Sequence[str], int]]) -> None:
    """It is recorded with the state in which it was read, which is no longer that of the store."""
    maker.early = True
    assert [made()[1] for _ in range(2)] == [1, 1]
    maker.meanwhile = lambda: write("finetune", "second")
    assert made(force=True)[1] == 2 and (OUT / "finished.json").exists()
    maker.meanwhile = lambda: None
    assert [made()[1] for _ in range(2)] == [3, 3]


def test_states_other_than_those_before_keep_it_from_being_recorded(
    maker: Maker, made: Callable[..., tuple[Sequence[str], int]], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    states = tracking.read_states()
    write("finetune", "second")
    maker.early = True
    with monkeypatch.context() as patched:
        patched.setattr(tracking, "read_states", lambda: states)
        made()
    assert not (OUT / "finished.json").exists()
    assert [made()[1] for _ in range(2)] == [2, 2]


def test_what_another_process_has_read_is_noted(workplace: Path) -> None:
    with watching() as seen:
        tracking.read_runs("score")
        tracking.note(tracking.Seen({"finetune"}, unreadable=True))
    assert seen.stages == {"score", "finetune"} and seen.unreadable


def test_what_is_read_is_noted_for_whoever_watches_it(workplace: Path) -> None:
    """As when two threads make results, of which one ends while the other goes on."""
    with watching() as longer:
        with watching() as shorter:
            tracking.read_runs("score")
        tracking.read_runs("finetune")
    assert (shorter.stages, longer.stages) == ({"score"}, {"score", "finetune"})


@pytest.mark.parametrize("damaged", [False, True])
def test_what_lacks_an_artifact_is_made_again(
    damaged: bool, maker: Maker, made: Callable[..., tuple[Sequence[str], int]]
) -> None:  # fmt: skip
    """As in a report, which goes on without the artifacts that it cannot read."""
    run = the_run()

    def read() -> None:
        with suppress(InputError), tracking.artifact_folder(run, "scores") as folder:
            if damaged:
                raise InputError(f"{folder} is damaged")

    maker.meanwhile = read
    if damaged:
        tracking.connect().log_artifact(run, __file__, "scores")
    assert [made()[1], made()[1]] == [1, 2]
    damaged = False
    tracking.connect().log_artifact(run, __file__, "scores")
    assert [made()[1], made()[1]] == [3, 3]


def test_what_is_not_finished_is_made_again(made: Callable[..., tuple[Sequence[str], int]]) -> None:
    made()

    def fail() -> tracking.Made:
        (OUT / "report.md").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracking.make_of_store("report", OUT, 2, lambda: fail)
    assert made() == (["whole", "short"], 2)
