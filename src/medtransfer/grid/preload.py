"""Import what workers need, in the fork server that they are forked from: it takes seconds, once."""

import gc
import importlib

from medtransfer.environment import gc_paused

NEEDED = ("mlflow", *(f"medtransfer.{name}" for name in (
    "grid.worker", "prepare.preview", "pretrain.training", "pretrain.objectives.classification", "score.scorer", "finetune.train",
)))  # fmt: skip

with gc_paused():
    for name in NEEDED:
        importlib.import_module(name)
gc.freeze()  # so that no worker looks for garbage among them, which would copy their memory
