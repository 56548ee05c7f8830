"""What a finished scoring is recognised by."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.tasks.label_targets import relabel

from medtransfer.config import Params
from medtransfer.records import PreparedTarget
from medtransfer.score import finished


@pytest.mark.parametrize(
    ("indicators", "labelled", "same"),
    [
        (["ridge"], True, False), (["all"], True, False), (["robustness"], True, True), (["ridge"], False, True),
        (["all"], False, True),
    ],
)  # fmt: skip
def test_values_by_labels_of_images_are_measured_again(
    indicators: list[str], labelled: bool, same: bool, make_target: Callable[..., PreparedTarget],
    tiny_params: Callable[..., Params], monkeypatch: Any,
) -> None:  # fmt: skip
    """Earlier versions measured them otherwise, or not at all; other scorings stay as they are."""
    target, section = make_target(6), tiny_params({"score.indicators": indicators}).score
    if labelled:
        target = relabel(target, "multiclass", target.folder)
    now = finished.request_of(section, target, {})
    monkeypatch.setattr(finished, "IMAGE_TASKS", ())  # as earlier versions, which told nothing of labels
    assert (finished.request_of(section, target, {}) == now) is same
