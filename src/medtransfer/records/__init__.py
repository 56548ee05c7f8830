"""Versioned file formats, written atomically."""

from medtransfer.records.arrays import BROKEN_ARRAYS, create_array, map_array, open_arrays
from medtransfer.records.atomic import (
    atomic_folder,
    atomic_path,
    scratch_folder,
    write_bytes,
    write_json,
    write_tensors,
    write_text,
)
from medtransfer.records.base import OlderFormat, input_channels, read_json
from medtransfer.records.checkpoint import (
    SOURCE_ACCURACY,
    SOURCE_AUC,
    SOURCE_DICE,
    CheckpointInfo,
    Provenance,
    checkpoint_files,
    checkpoint_path,
    find_checkpoint,
    head_path,
    list_checkpoints,
    picture_path,
    read_tensors,
    series_folder,
)
from medtransfer.records.export import EXPORT_FILE, ExportInfo
from medtransfer.records.folders import epoch_records, folders_and_files
from medtransfer.records.image_rule import ImageRule
from medtransfer.records.json import parse_json
from medtransfer.records.model import MODEL_FILE, ModelInfo
from medtransfer.records.prediction import Prediction
from medtransfer.records.prepared import (
    IGNORE,
    IMAGE_TASKS,
    IMAGES_FILE,
    INDEX_COLUMNS,
    INDEX_FILE,
    LABELS_FILE,
    MASKS_FILE,
    TARGET_FILE,
    UNCERTAIN,
    LabelKind,
    PreparedTarget,
    TargetInfo,
    write_index,
)
from medtransfer.records.pretraining import CURVES_FILE, PRETRAINING_FILE, Pretraining, read_curves, read_kept, write_curves
from medtransfer.records.result import INTERVALS, PER_SAMPLE, WEIGHTS_FILE, Cell, CellName, Result, size_text, write_per_sample
from medtransfer.records.scores import FinishedScores, Score, ScoreIndex, Scores, read_values, write_values
from medtransfer.records.tables import read_table
from medtransfer.records.untrusted import in_one_line, require_file

__all__ = [
    "BROKEN_ARRAYS", "CURVES_FILE", "Cell", "CellName", "CheckpointInfo", "EXPORT_FILE", "ExportInfo",
    "IGNORE", "IMAGES_FILE", "IMAGE_TASKS", "INDEX_COLUMNS", "INDEX_FILE", "INTERVALS",
    "ImageRule", "LABELS_FILE", "LabelKind", "MASKS_FILE", "MODEL_FILE", "ModelInfo",
    "OlderFormat", "PER_SAMPLE", "PRETRAINING_FILE", "Prediction", "PreparedTarget", "Pretraining", "Provenance",
    "Result", "SOURCE_ACCURACY", "SOURCE_AUC", "SOURCE_DICE",
    "FinishedScores", "Score", "ScoreIndex", "Scores", "TARGET_FILE", "TargetInfo", "UNCERTAIN", "WEIGHTS_FILE",
    "atomic_folder", "atomic_path",
    "checkpoint_files", "checkpoint_path", "create_array", "epoch_records",
    "find_checkpoint", "head_path", "in_one_line", "input_channels",
    "list_checkpoints", "folders_and_files", "map_array", "open_arrays",
    "parse_json", "picture_path", "read_curves", "read_json", "read_kept", "read_table", "read_tensors", "read_values",
    "require_file",
    "scratch_folder", "series_folder", "size_text",
    "write_bytes", "write_curves", "write_index", "write_json", "write_per_sample", "write_tensors",
    "write_text", "write_values",
]  # fmt: skip
