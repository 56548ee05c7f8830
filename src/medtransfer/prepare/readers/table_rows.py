"""Rows of the tables of labels: their files, the columns that are used, and the split that each row names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.errors import InputError
from medtransfer.prepare.readers.folder_layout import SPLITS
from medtransfer.prepare.readers.split_lists import check_splits, list_files
from medtransfer.records import read_table
from medtransfer.wording import composed

FIELD = re.compile(r"\{([^{}]+)\}")
REMEDY = "correct the options table, delimiter and header"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        fields: text of each column that is used, without white space around it.
        where: line and file, for messages.
        split: split of the table, None if it is of none.
    """

    fields: Mapping[str, str]
    where: str
    split: str | None


def list_tables(root: Path, chosen: Mapping[str, Any]) -> list[tuple[Path, str | None]]:
    """Return the tables that the option `table` names, each with its split."""
    table = chosen["table"]
    if isinstance(table, Mapping):
        splits = check_splits(table, "table")
        return [(path, split) for split, names in splits.items() for path in list_files(root, names, "table")]
    return [(path, None) for path in list_files(root, table, "table")]


def list_columns(chosen: Mapping[str, Any]) -> list[str]:
    """Return the columns that options other than those of labels name."""
    if not isinstance(chosen["where"], Mapping) or not all(isinstance(values, list) for values in chosen["where"].values()):
        raise InputError(f"expected the option where to map columns to lists of values, but got {chosen['where']!r}")
    patterns = [chosen["image"], chosen["group_by"] or ""]
    named = [name for pattern in patterns for name in FIELD.findall(pattern)]
    return [*named, *chosen["where"], *([chosen["split_column"]] if chosen["split_column"] else [])]


def read_rows(tables: Sequence[tuple[Path, str | None]], chosen: Mapping[str, Any], columns: Sequence[str | None]) -> list[Row]:
    """Read the columns that are used.

    Raises:
        InputError: a table cannot be read, or lacks one of them.
    """
    header = chosen["header"]
    if header is not None and not (isinstance(header, list) and all(isinstance(name, str) for name in header)):
        raise InputError(f"expected the option header to list the names of the columns, but got {header!r}")
    if len(chosen["delimiter"]) != 1:
        raise InputError(f"expected one character in the option delimiter, but got {chosen['delimiter']!r}")
    rows: list[Row] = []
    for path, split in tables:
        table = read_table(path, REMEDY, chosen["delimiter"], header)
        positions = {name.strip(): position for position, name in enumerate(table.columns)}
        if missing := [name for name in columns if name not in positions]:
            known = ", ".join(filter(None, positions))
            raise InputError(f"expected the column {missing[0]!r} in {path}, but it has {known}; correct the options of the reader")
        used = {name: positions[name] for name in columns if name is not None}
        for line, fields in zip(table.lines, table.rows, strict=True):
            rows.append(Row({name: fields[at].strip() for name, at in used.items()}, f"line {line} of {path}", split))
    return rows


def fill(pattern: str, row: Row) -> str:
    """Return a pattern with the fields of a row in the places of their {columns}."""
    return FIELD.sub(lambda match: row.fields[match[1]], pattern)


def pick(row: Row, chosen: Mapping[str, Any]) -> str | None:
    """Return the split of a row: that of its table, or of its column; raise InputError if it names none."""
    column = chosen["split_column"]
    if column is None:
        return row.split
    names = {composed(str(name)).casefold(): split for name, split in (chosen["splits"] or SPLITS).items()}
    split = names.get(composed(row.fields[column]).casefold())
    if split not in SPLITS.values():
        raise InputError(
            f"expected one of {', '.join(names)} in {column!r} of {row.where}, but got {row.fields[column]!r}; name its split with "
            "the option splits"
        )
    return split
