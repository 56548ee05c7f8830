"""Registry of tasks."""

from medtransfer.tasks.classification import Binary, Multiclass, Multilabel, Ordinal
from medtransfer.tasks.contract import Task
from medtransfer.tasks.segmentation import Segmentation

TASKS: dict[str, Task] = {
    "segmentation": Segmentation(), "binary": Binary(), "multilabel": Multilabel(), "multiclass": Multiclass(),
    "ordinal": Ordinal(),
}  # fmt: skip
