"""Results are checked by their task: another metric or a value out of its range is refused, whatever its name."""

import re
from dataclasses import replace

import pytest
from tests.tasks.fakes import Presence

from medtransfer.errors import InputError
from medtransfer.records import Result
from medtransfer.tasks import TASKS
from medtransfer.tasks.results import read_result

GOOD = Result(
    cell={"target": "x"}, key="k", task="presence", primary="accuracy", metrics={"accuracy": 87.5, "loss": -3.0},
    per_sample="values.csv", curves={}, encoder_hash=[], settings={}, seconds=0.5, git_revision="none",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _presence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "presence", Presence())


def test_a_result_of_any_task_comes_back(tmp_path):
    for value in (0.0, 87.5, 100.0):
        result = replace(GOOD, metrics={"accuracy": value})
        result.write(tmp_path / "metrics.json")
        assert read_result(tmp_path / "metrics.json") == result


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"accuracy": 100.5}}, "metric 'accuracy' in {path}, from 0 to 100, but got 'accuracy': 100.5"),
        ({"metrics": {"accuracy": -0.5}}, "but got 'accuracy': -0.5"),
        ({"metrics": {"dice": 0.5}}, "but got 'accuracy': None"),
        ({"primary": "loss"}, "but got 'loss': -3.0"),
        ({"task": "segmentation"}, "the primary metric 'dice' in {path}, from 0 to 1, but got 'accuracy': 87.5"),
        (
            {"task": "translation"},
            "expected the task in {path} to be one of segmentation, binary, .*, presence, but got 'translation'",
        ),
    ],
)
def test_another_metric_or_value_is_refused(changes, message, tmp_path):
    path = tmp_path / "metrics.json"
    replace(GOOD, **changes).write(path)
    with pytest.raises(
        InputError,
        match=re.escape(message.format(path=path)).replace(re.escape(".*"), ".*")
        + ".*; fine-tune again with `medtransfer finetune",
    ):
        read_result(path)
