"""Printed tables of papers, as data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtransfer.metrics.two_samples import Summary
from medtransfer.records.tables import read_table

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Cell:
    """A printed number.

    Attributes:
        table: name of the table.
        row: what was measured, such as an initialisation.
        column: on what, such as a target; `<target>/epochs` are epochs.
        value: the printed mean.
        std: the printed spread; None if there is none.
        n: number of runs or folds that they are of; None if unsaid.
    """

    table: str
    row: str
    column: str
    value: float
    std: float | None
    n: int | None

    def summary(self, ddof: int = 1) -> Summary | None:
        """Return the sample's summary; None without a spread.

        Args:
            ddof: what the printed spread was divided by, n - ddof; papers rarely say.
        """
        if self.std is None or self.n is None or self.n < 2:
            return None
        return Summary(self.value, self.std * (self.n / (self.n - 1)) ** 0.5 if ddof == 0 else self.std, self.n)


def read_printed(paper: str) -> list[Cell]:
    """Read all tables of a paper, which the package carries as `data/<paper>-<table>.csv`."""
    cells = []
    for path in sorted(DATA.glob(f"{paper}-*.csv")):
        table = read_table(path, "install medtransfer again")
        cells += [_cell(dict(zip(table.columns, row, strict=True))) for row in table.rows]
    return cells


def _cell(named: Mapping[str, str]) -> Cell:
    std, n = named["std"], named["n"]
    return Cell(
        named["table"], named["row"], named["column"], float(named["value"]), float(std) if std else None, int(n) if n else None
    )  # fmt: skip


def contradictions(cells: Sequence[Cell]) -> list[tuple[Cell, Cell]]:
    """Return pairs of cells of the same row and column, in different tables, whose numbers differ."""
    seen: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        seen[cell.row, cell.column].append(cell)
    pairs = [(same[0], other) for same in seen.values() for other in same[1:]]
    return [(one, other) for one, other in pairs if (one.value, one.std) != (other.value, other.std)]
