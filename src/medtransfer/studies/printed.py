"""Printed numbers of a paper for the cells of its study."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from medtransfer.config.schema.study_file import Printed
from medtransfer.config.study_files import StudyFile
from medtransfer.errors import InputError
from medtransfer.papers.printed.registry import PAPERS
from medtransfer.papers.printed.tables import Cell
from medtransfer.records import size_text
from medtransfer.studies.finished import RANDOM

ALL = "all"


@dataclass(frozen=True)
class Number:
    """A printed mean in units of our metric.

    Attributes:
        mean: the mean.
        std: its spread as printed; None without.
        n: number of runs or folds; None if unsaid.
        table: the table.
    """

    mean: float
    std: float | None
    n: int | None
    table: str


class Tables:
    """The printed tables that a study names."""

    def __init__(self, printed: Printed) -> None:
        """Read the tables.

        Raises:
            InputError: the package has no printed tables of the paper, or a template has an unknown field.
        """
        self._printed = printed
        self.of_best = printed.of == "best"
        self._numbers = {(cell.table, cell.row, cell.column): cell for cell in _read(printed.paper)}
        if not self._numbers:
            raise InputError(f"expected printed tables of the paper {printed.paper!r} (about.printed.paper), but there are none")
        self.find("", "", "", 0, "", None)

    def find(self, target: str, encoder: str, origin: str, epoch: int, mode: str, size: float | None) -> Number | None:
        """Return the printed number of an initialisation; None where none is printed."""
        ours = {
            "target": target, "encoder": encoder, "origin": origin if epoch else RANDOM, "mode": mode,
            "size": ALL if size is None else size_text(size),
        }  # fmt: skip
        spelt = [self._spelt(field, value) for field, value in ours.items()]
        for template, values in product(self._printed.tables, product(*spelt)):
            names = dict(zip(ours, values, strict=True))
            key = (template, self._printed.row, self._printed.column)
            table, row, column = (_filled(text, names) for text in key)
            if cell := self._numbers.get((table, row, column)):
                scale = self._printed.scale
                return Number(cell.value / scale, None if cell.std is None else cell.std / scale, cell.n, cell.table)
        return None

    def _spelt(self, field: str, value: str) -> list[str]:
        """Return how the paper writes a value of a field."""
        names = self._printed.names.get(field, {}).get(value, value)
        return names if isinstance(names, list) else [names]


def tables_of(chosen: StudyFile) -> dict[str, Tables]:
    """Return the printed tables of the parts that name some, by the part's name."""
    return {part.name: Tables(part.about.printed) for part in chosen.parts if part.about.printed is not None}


def _read(paper: str) -> list[Cell]:
    """Read the printed numbers of a paper; those of Hidy et al. have the row `<dataset>/<encoder>/<mode>`."""
    if paper != "hidy":
        return PAPERS[paper].cells() if paper in PAPERS else []
    from medtransfer.papers.hidy2024.printed import printed_cells

    return [
        Cell(cell.table, f"{cell.dataset}/{cell.encoder}/{cell.mode}", cell.row, cell.printed, None, None)
        for cell in printed_cells() if not cell.scheme
    ]  # fmt: skip


def _filled(template: str, names: Mapping[str, str]) -> str:
    try:
        return template.format(**names)
    except (KeyError, IndexError, ValueError):
        raise InputError(
            f"expected about.printed to have templates of {', '.join(f'{{{name}}}' for name in names)}, but got {template!r}; "
            "correct it"
        ) from None
