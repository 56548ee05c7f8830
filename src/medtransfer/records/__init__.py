"""A result goes in; a small versioned file comes out, whole or not at all, and back: the record of every arrow."""

from medtransfer.records.checkpoint import CheckpointInfo, checkpoint_path, list_checkpoints, read_tensors, series_folder
from medtransfer.records.files import atomic_folder, atomic_path, scratch_folder, write_json, write_tensors, write_text
from medtransfer.records.forms import read_json
from medtransfer.records.reading import BROKEN_ARRAYS, in_one_line, map_array, open_arrays, parse_json, read_table, require_file
from medtransfer.records.results import Cell, Result, Scores, pair_name, read_pair
from medtransfer.records.target import ARRAYS, INDEX_COLUMNS, PreparedTarget, TargetInfo

__all__ = [
    "ARRAYS", "BROKEN_ARRAYS", "Cell", "CheckpointInfo", "INDEX_COLUMNS", "PreparedTarget", "Result", "Scores", "TargetInfo",
    "atomic_folder", "atomic_path", "checkpoint_path", "in_one_line", "list_checkpoints", "map_array", "open_arrays",
    "pair_name", "parse_json", "read_json", "read_pair", "read_table", "read_tensors", "require_file", "scratch_folder",
    "series_folder", "write_json", "write_tensors", "write_text",
]  # fmt: skip
