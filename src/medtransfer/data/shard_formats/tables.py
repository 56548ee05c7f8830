"""Parquet and Arrow tables with a row per picture, as Hugging Face `datasets` writes them.

Columns: `image`, the bytes of a picture's file or a struct of `bytes` and `path`; `label`, a number or a name; it may be missing.

    image                                                                       label
    {"bytes": b"\\xff\\xd8\\xff…", "path": "n01440764/n01440764_10026.JPEG"}    0

Pictures are read by their offset in the file, so they must not be compressed, which saves nothing for JPEG and PNG.
Source: https://huggingface.co/docs/datasets/image_load
"""

import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.data.shard_formats.contract import StoredPicture, class_of, name_of
from medtransfer.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

WRITTEN = ".parquet"
IMAGES, LABELS = ("image", "img", "jpg"), ("label", "cls")  # names of the columns
ROWS = 100  # per row group, as `datasets` writes pictures
NAMES = b"medtransfer.names"  # key of the schema's metadata: paths are those in the folder that was packed
MAGIC = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"BM": ".bmp", b"GI": ".gif", b"RI": ".webp", b"II": ".tif", b"MM": ".tif"}


def read(path: Path) -> Iterator[StoredPicture]:
    """Yield the pictures of a table."""
    number, end = 0, 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        for batch in _batches(path):
            named = NAMES in (batch.schema.metadata or {})
            for content, label, stored in _rows(path, batch, number):
                offset = _locate(raw, content, end)
                end = end if offset is None else offset + len(content)
                name = stored if named and stored else name_of(
                    label, f"{path.stem}-{number:06d}{MAGIC.get(content[:2], '')}", f"{path}, row {number}"
                )  # fmt: skip
                yield StoredPicture(name, content, offset)
                number += 1


def write(path: Path, pictures: Iterable[tuple[str, bytes]], classes: Sequence[str]) -> None:
    """Write a Parquet table, which `datasets` reads with its pictures and the names of its classes."""
    import pyarrow as pa
    from pyarrow import parquet

    labels: dict[str | None, int | None] = {name: number for number, name in enumerate(classes)}
    image, label = pa.struct({"bytes": pa.binary(), "path": pa.string()}), pa.int64()
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if classes:
        features["label"] = {"names": list(classes), "_type": "ClassLabel"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}}), NAMES.decode(): "1"}
    fields = [("image", image), *([("label", label)] if classes else [])]
    schema = pa.schema(fields, metadata=metadata)
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False, write_statistics=False) as writer:
        remaining = iter(pictures)
        while group := list(islice(remaining, ROWS)):
            columns = [pa.array([{"bytes": content, "path": name} for name, content in group], image)]
            if classes:
                columns.append(pa.array([labels.get(class_of(name)) for name, _ in group], label))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _batches(path: Path) -> "Iterator[pa.RecordBatch]":
    """Yield the rows of a table in batches, of the columns that are needed."""
    import pyarrow as pa
    from pyarrow import ipc, parquet

    if path.suffix == ".parquet":
        with parquet.ParquetFile(path) as file:
            columns = [name for name in (*IMAGES, *LABELS) if name in file.schema_arrow.names]
            yield from (batch.replace_schema_metadata(file.schema_arrow.metadata)
                        for batch in file.iter_batches(ROWS, columns=columns))  # fmt: skip
        return
    with pa.memory_map(str(path)) as source:
        try:
            yield from ipc.open_stream(source)
        except pa.ArrowInvalid:
            opened = ipc.open_file(source)
            yield from (opened.get_batch(index) for index in range(opened.num_record_batches))


def _rows(path: Path, batch: "pa.RecordBatch", first: int) -> Iterator[tuple[bytes, int | str | None, str | None]]:
    """Yield content, label and path of the pictures of a batch."""
    import pyarrow as pa

    names = batch.schema.names
    column = next((batch.column(name) for name in IMAGES if name in names), None)
    if column is None:
        raise InputError(
            f"expected a column of pictures in {path}, one of {', '.join(IMAGES)}, but got {', '.join(names) or 'none'}; rename it"
        )
    paths = None
    if pa.types.is_struct(column.type):
        fields = [field.name for field in column.type]
        paths = column.field("path") if "path" in fields else None
        column = column.field("bytes") if "bytes" in fields else column
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise InputError(
            f"expected the bytes of picture files in the images of {path}, but their type is {column.type}; write them as "
            "encoded pictures"
        )
    labels = next((batch.column(name) for name in LABELS if name in names), None)
    for row in range(len(batch)):
        content = column[row].as_py()
        if content is None:
            raise InputError(f"expected a picture in row {first + row} of {path}, but it is empty; remove the row")
        yield content, None if labels is None else labels[row].as_py(), None if paths is None else paths[row].as_py()


def _locate(raw: mmap.mmap, content: bytes, end: int) -> int | None:
    """Return where the file holds a picture: right after the last one (Arrow), after its length (Parquet), or elsewhere."""
    for offset in (end, end + 4):
        if raw[offset : offset + len(content)] == content:
            return offset
    for begin in (end, 0):
        if (offset := raw.find(content, begin)) >= 0:
            return offset
    return None
