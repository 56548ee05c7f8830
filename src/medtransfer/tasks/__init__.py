"""Kinds of targets: `TASKS`, the one list of them; and ways to transfer to them: `MODES`, in modes.py."""

from medtransfer.tasks.contract import Task
from medtransfer.tasks.segmentation import Segmentation

TASKS: dict[str, Task] = {"segmentation": Segmentation()}
