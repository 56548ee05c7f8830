"""Results that are made of the tracking store are made again when, and only when, something that they are made of has changed."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medtransfer import tracking
from medtransfer.config import loaded_files

OUT = Path("reports")


def write(stage: str, cell: str, status: str = "") -> str:
    """Write a run and return its id."""
    with tracking.open_run(stage, cell, cell, {"target": "heart"}, {}) as run:
        run.log_metrics({"dice": 0.5})
    if status:
        tracking.connect().set_terminated(run.id, status)
    return run.id


class Maker:
    """Makes a result of two files and a run of the stage `report`, and counts how often."""

    def __init__(self) -> None:
        """Start with none made."""
        self.count = 0

    def __call__(self) -> tracking.Made:
        """Make it."""
        self.count += 1
        for name in ("report.md", "report.html"):
            (OUT / name).write_text(name, encoding="utf-8")
        with tracking.once("report", "report", "shown", {}) as handle:
            assert handle is None or handle.id
        return tracking.Made(["shown"], [OUT / "report.md", OUT / "report.html"], ["whole", "short"])


@pytest.fixture
def made(workplace: Path) -> Callable[..., tuple[Sequence[str], int]]:
    """Function that asks for the result; it returns its texts and how often it was made in all."""
    OUT.mkdir()
    write("finetune", "first")
    maker = Maker()

    def ask(
        request: object = 1, unread: Collection[str] | None = ("explain",), force: bool = False
    ) -> tuple[Sequence[str], int]:  # fmt: skip
        return tracking.make_of_store("report", OUT, request, unread, maker, force), maker.count

    return ask


def the_run(stage: str = "finetune") -> str:
    """Return the id of a stage's only run."""
    (run,) = tracking.read_runs(stage)
    return run.id


def experiment_of(run: str) -> str:
    """Return the id of a run's experiment."""
    return str(tracking.connect().get_run(run).info.experiment_id)


CHANGES: dict[str, Callable[[MlflowClient], object]] = {
    "a new run": lambda client: write("finetune", "second"),
    "a new run of an unknown stage": lambda client: write("elsewhere", "second"),
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


def test_what_is_made_of_its_own_runs_alone_does_not_depend_on_others(made: Callable[..., tuple[Sequence[str], int]]) -> None:
    made(unread=None)
    write("finetune", "second")
    assert made(unread=None)[1] == 1
    tracking.connect().delete_run(the_run("report"))
    assert made(unread=None)[1] == 2


def test_what_is_not_finished_is_made_again(made: Callable[..., tuple[Sequence[str], int]]) -> None:
    made()

    def fail() -> tracking.Made:
        (OUT / "report.md").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tracking.make_of_store("report", OUT, 2, (), fail)
    assert made() == (["whole", "short"], 2)
