"""A result goes in; a small versioned file comes out, whole or not at all, and back: the record of every arrow."""

from medtransfer.records.arrays import BROKEN_ARRAYS, map_array, open_arrays
from medtransfer.records.atomic import atomic_folder, atomic_path, scratch_folder, write_json, write_tensors, write_text
from medtransfer.records.base import read_json
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
from medtransfer.records.result import Cell, Result
from medtransfer.records.scores import Scores, pair_name, read_pair
from medtransfer.records.tables import read_table
from medtransfer.records.untrusted import in_one_line, require_file

__all__ = [
    "ARRAYS", "BROKEN_ARRAYS", "Cell", "CheckpointInfo", "INDEX_COLUMNS", "PreparedTarget", "Provenance", "Result", "Scores",
    "TargetInfo", "atomic_folder", "atomic_path", "checkpoint_path", "find_checkpoint", "in_one_line", "list_checkpoints",
    "map_array", "open_arrays",
    "pair_name", "parse_json", "read_json", "read_pair", "read_table", "read_tensors", "require_file", "scratch_folder",
    "series_folder", "write_json", "write_tensors", "write_text",
]  # fmt: skip
