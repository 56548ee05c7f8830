"""Order of the stages: each command connects the tracking store, makes missing sample inputs and runs its stage."""

from medtransfer.study.cells import (
    described,
    is_sample,
    is_trained,
    list_portions,
    origin_names,
    parent_in,
    planned_cells,
    require_epochs,
    study_cells,
    study_epochs,
    study_series,
    with_values,
)
from medtransfer.study.checks import check_cells, check_encoder, check_models, check_recipe, check_recorded_sizes
from medtransfer.study.inputs import is_prepared, warn_of_changed
from medtransfer.study.results import explain, export_evidence, replay, report, search
from medtransfer.study.stages import finetune, prepare, pretrain, pretrain_apart, samples, score
from medtransfer.study.store import RESULTS, reach_store
from medtransfer.study.whole import study

__all__ = [
    "RESULTS",
    "check_cells",
    "check_encoder",
    "check_models",
    "check_recipe",
    "check_recorded_sizes",
    "described",
    "explain",
    "export_evidence",
    "finetune",
    "is_prepared",
    "is_sample",
    "is_trained",
    "list_portions",
    "origin_names",
    "parent_in",
    "planned_cells",
    "prepare",
    "pretrain",
    "pretrain_apart",
    "reach_store",
    "replay",
    "require_epochs",
    "report",
    "samples",
    "score",
    "search",
    "study",
    "study_cells",
    "study_epochs",
    "study_series",
    "warn_of_changed",
    "with_values",
]
