"""Import what workers need, in the fork server that they are forked from: it takes seconds, once."""

import gc
import importlib
import os
from pathlib import Path
from threading import Event, Thread

NEEDED = ["mlflow", *(f"medtransfer.{name}" for name in (
    "grid.jobs", "prepare.preview", "prepare.stage", "pretrain.training", "pretrain.objectives.classification", "score.scorer",
    "finetune.train", "metrics.segmentation",
)), "torch._dynamo"]  # the last one, PyTorch's compiler, by the optimisers  # fmt: skip
NEEDED_FOR_DATABASES = ["medtransfer.tracking.sql", "mlflow.store.tracking.sqlalchemy_store"]


def _end_with(command: int, imported: Event) -> None:
    """End this process if the command that started it ends before everything is imported, as one that is refused does."""
    while not imported.wait(0.1):
        if os.getppid() != command:
            os._exit(0)


def _import_all() -> None:
    from medtransfer.environment import gc_paused
    from medtransfer.tracking import store_uri
    from medtransfer.tracking.tags import DATABASES

    with gc_paused():
        for name in [*NEEDED, *(NEEDED_FOR_DATABASES if store_uri().startswith(DATABASES) else ())]:
            importlib.import_module(name)


def _leave_removed_folder() -> None:
    """Work in a folder that exists, since libraries ask for it; a process that is forked goes to that of its command."""
    try:
        Path.cwd()
    except OSError:
        os.chdir(os.sep)


_leave_removed_folder()
imported = Event()
watching = Thread(target=_end_with, args=(os.getppid(), imported), daemon=True)
watching.start()
try:
    _import_all()
finally:
    imported.set()
    watching.join()  # no process is forked beside a thread
gc.freeze()  # so that no worker looks for garbage among them, which would copy their memory
