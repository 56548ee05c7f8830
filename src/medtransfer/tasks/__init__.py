"""Kinds of targets: `TASKS` is the only list of them."""

from medtransfer.tasks.contract import Task
from medtransfer.tasks.segmentation import Segmentation

TASKS: dict[str, Task] = {"segmentation": Segmentation()}
