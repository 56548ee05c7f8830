"""Read results of fine-tunings, checked against their task."""

import math
from pathlib import Path

from medtransfer.errors import InputError
from medtransfer.records import Result
from medtransfer.tasks import TASKS


def read_result(path: Path) -> Result:
    """Read `metrics.json` of a fine-tuned model.

    Raises:
        InputError: the file is missing, broken or older, or its primary metric is not that of its task.
    """
    result = Result.read(path)
    remedy = "fine-tune again with `medtransfer finetune --force`"
    if result.task not in TASKS:
        raise InputError(f"expected the task in {path} to be one of {', '.join(TASKS)}, but got {result.task!r}; {remedy}")
    metric = TASKS[result.task].primary
    value = result.metrics.get(result.primary, math.nan)
    if result.primary != metric.name or not metric.low <= value <= metric.high:
        raise InputError(
            f"expected the primary metric {metric.name!r} in {path}, from {metric.low:g} to {metric.high:g}, but got "
            f"{result.primary!r}: {result.metrics.get(result.primary)}; {remedy}"
        )
    return result
