"""Registry of tasks."""

from medtransfer.tasks.contract import Task
from medtransfer.tasks.segmentation import Segmentation

TASKS: dict[str, Task] = {"segmentation": Segmentation()}
