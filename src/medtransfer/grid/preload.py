"""Import what workers need, in the fork server that they are forked from: it takes seconds, once."""

import gc
import importlib

from medtransfer.environment import gc_paused
from medtransfer.tracking import store_uri
from medtransfer.tracking.tags import DATABASES

NEEDED = ["mlflow", *(f"medtransfer.{name}" for name in (
    "grid.jobs", "prepare.preview", "prepare.stage", "pretrain.training", "pretrain.objectives.classification", "score.scorer",
    "finetune.train", "metrics.segmentation",
))]  # fmt: skip
if store_uri().startswith(DATABASES):
    NEEDED += ["medtransfer.tracking.sql", "mlflow.store.tracking.sqlalchemy_store"]

with gc_paused():
    for name in NEEDED:
        importlib.import_module(name)
gc.freeze()  # so that no worker looks for garbage among them, which would copy their memory
