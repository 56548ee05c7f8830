"""Versioned file formats, written atomically."""

from medtransfer.records.arrays import BROKEN_ARRAYS, map_array, open_arrays
from medtransfer.records.atomic import atomic_folder, atomic_path, scratch_folder, write_json, write_tensors, write_text
from medtransfer.records.base import OlderFormat, read_json
from medtransfer.records.checkpoint import (
    CheckpointInfo,
    Provenance,
    checkpoint_path,
    find_checkpoint,
    list_checkpoints,
    read_tensors,
    series_folder,
)
from medtransfer.records.json import parse_json
from medtransfer.records.prepared import ARRAYS, INDEX_COLUMNS, PreparedTarget, TargetInfo
from medtransfer.records.pretraining import CURVES_FILE, PRETRAINING_FILE, Pretraining, read_curves, write_curves
from medtransfer.records.result import PER_SAMPLE, Cell, CellName, Result
from medtransfer.records.scores import Score, ScoreIndex, Scores, read_values, write_values
from medtransfer.records.tables import read_table
from medtransfer.records.untrusted import in_one_line, require_file

__all__ = [
    "ARRAYS", "BROKEN_ARRAYS", "CURVES_FILE", "Cell", "CellName", "CheckpointInfo", "INDEX_COLUMNS", "OlderFormat",
    "PER_SAMPLE", "PRETRAINING_FILE", "PreparedTarget", "Pretraining", "Provenance", "Result", "Score", "ScoreIndex",
    "Scores", "TargetInfo", "atomic_folder", "atomic_path", "checkpoint_path", "find_checkpoint", "in_one_line",
    "list_checkpoints", "map_array", "open_arrays", "parse_json", "read_curves", "read_json", "read_table", "read_tensors",
    "read_values", "require_file", "scratch_folder", "series_folder", "write_curves", "write_json", "write_tensors",
    "write_text", "write_values",
]  # fmt: skip
