"""Predicted labels of images as rows of a table."""

from typing import TYPE_CHECKING, Any

from medtransfer.config import Predict
from medtransfer.errors import InputError
from medtransfer.records import ModelInfo
from medtransfer.tasks.contract import Task

if TYPE_CHECKING:
    from torch import Tensor

TABLE = "labels.csv"  # of all images


def check(section: Predict, info: ModelInfo) -> None:
    """Check that nothing is asked for that labels of images do not have.

    Raises:
        InputError: it is.
    """
    if section.masks is not None or section.slide:
        name = "predict.masks null" if section.masks is not None else "predict.slide false"
        raise InputError(
            f"expected {name} for a model of labels of images ({info.task}), which predicts no masks; set it so, and compare "
            "labels.csv with your own labels, or prepare these images as a target and fine-tune on it"
        )


def describe(probabilities: "Tensor", task: Task, info: ModelInfo) -> list[dict[str, Any]]:
    """Return one row per slice: its number, what is predicted, and the probability of every class, by name.

    Args:
        probabilities: (slices, classes).
        task: task of the model.
        info: the model.
    """
    decided = task.decide(probabilities, info.thresholds).reshape(len(probabilities), -1).tolist()
    rows = []
    for index, (values, labels) in enumerate(zip(probabilities.tolist(), decided, strict=True)):
        if info.thresholds:
            named = "; ".join(name for name, label in zip(info.classes, labels, strict=True) if label)
        else:
            named = info.classes[labels[0]]
        shown = {f"probability of {name}": value for name, value in zip(info.classes, values, strict=True)}
        rows.append({"slice": index, "predicted": named or "none", **shown})
    return rows
