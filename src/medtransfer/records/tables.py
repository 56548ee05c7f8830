"""Read tables from CSV, and write them as CSV or Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.errors import InputError
from medtransfer.records.untrusted import in_one_line, require_file


@dataclass(frozen=True)
class Table:
    """Contents of a CSV file.

    Attributes:
        columns: names of the columns.
        rows: fields of each row, as text.
        lines: line number in the file where each row ends, from 1.
    """

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]


def read_table(path: Path, remedy: str, delimiter: str = ",", header: Sequence[str] | None = None) -> Table:
    """Read a CSV file in UTF-8; blank lines are skipped, but count in line numbers.

    Args:
        path: its path.
        remedy: what to do about a broken one, for messages.
        delimiter: what is between two fields; a space stands for any white space.
        header: names of the columns where the file has no header.

    Raises:
        InputError: the file is missing or not such a table, repeats a column, or has a row of another length.
    """
    require_file(path, "a table", remedy)
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = (" ".join(line.split()) for line in handle) if delimiter == " " else handle
            reader = csv.reader(lines, strict=True, delimiter=delimiter)
            columns = list(header) if header else next((row for row in reader if row), [])
            if not columns:
                raise ValueError("it is empty")
            numbered = [(reader.line_num, row) for row in reader if row]
            if wrong := [number for number, row in numbered if any("\0" in field for field in row)]:
                raise ValueError(f"line {wrong[0]} holds a NUL")
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"expected a table in {path}, but it cannot be read ({in_one_line(error)}); {remedy}") from None
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise InputError(f"expected every column once in the header of {path}, but {repeated[0]!r} appears twice; {remedy}")
    for number, row in numbered:
        if len(row) != len(columns):
            raise InputError(
                f"expected {len(columns)} fields per line, as in the header, in {path}, but got {len(row)} in line {number}; "
                f"{remedy}"
            )
    return Table(tuple(columns), [row for _, row in numbered], [number for number, _ in numbered])


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows of the same keys as CSV; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["empty"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows of the same keys as an aligned Markdown table, floats with three decimals; `none` if there are no rows."""
    if not rows:
        return "none"
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    right = [all(isinstance(row[column], int | float | None) for row in rows) for column in columns]

    def line(values: Sequence[str]) -> str:
        padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([line(columns), rule, *(line(values) for values in cells)])


def _cell(value: Any) -> str:
    if value is None or value != value:  # NaN
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (f"{value:z.3f}".replace("-", "−") if isinstance(value, float) else str(value)).replace("|", "\\|")
