"""Formats of the shards of a pretraining source, by the suffix of their files."""

from medtransfer.data.shard_formats import tables, tar
from medtransfer.data.shard_formats.contract import ShardFormat, StoredPicture, class_of

FORMATS: dict[str, ShardFormat] = {".tar": tar, ".parquet": tables, ".arrow": tables}

PACKED = {form.WRITTEN.removeprefix("."): form.WRITTEN for form in FORMATS.values()}  # suffix by name of a format that is written

__all__ = ["FORMATS", "PACKED", "ShardFormat", "StoredPicture", "class_of"]
