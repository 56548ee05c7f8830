"""Cells of a study by target, mode and size: how many there are and are finished, and what they take and could show."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.config.study_files import Part, StudyFile
from medtransfer.records import CellName
from medtransfer.studies.finished import Finished, Start, read_continued, read_finished
from medtransfer.studies.workload import NOTHING, Work, count_images, trained_on, work_of


class Key(NamedTuple):
    """What the cells of a row share; `size` None for all training images."""

    target: str
    mode: str
    size: float | None


@dataclass(frozen=True)
class Planned:
    """A cell of a study.

    Attributes:
        part: its part.
        cell: its name.
        images: images that it trains on, about; None where they are not known.
        work: what it takes at most; None likewise.
        finished: its result; None where it is not finished.
    """

    part: Part
    cell: CellName
    images: int | None
    work: Work | None
    finished: Finished | None

    @property
    def start(self) -> tuple[str, str, int]:
        """Encoder, origin and epoch of the weights that it starts from."""
        return self.cell.encoder, self.cell.origin, self.cell.epoch


@dataclass(frozen=True)
class Row:
    """The cells of a target, mode and size, of all parts of a study: what is compared.

    Attributes:
        key: what they share.
        cells: the cells.
    """

    key: Key
    cells: tuple[Planned, ...]

    @property
    def finished(self) -> list[Finished]:
        """Results of the finished ones."""
        return [one.finished for one in self.cells if one.finished is not None]

    @property
    def starts(self) -> int:
        """Number of initialisations."""
        return len({one.start for one in self.cells})

    @property
    def repetitions(self) -> int:
        """Folds of each initialisation, or its seeds; of parts that differ, the fewest."""
        by_part: dict[str, set[int | None]] = defaultdict(set)
        for one in self.cells:
            by_part[one.part.name].add(one.cell.fold if one.cell.folds else one.cell.seed)
        return min(map(len, by_part.values()))

    @property
    def params(self) -> Params:
        """Params of its first cell, for what is the same for all."""
        return self.cells[0].part.params

    @property
    def work(self) -> Work | None:
        """Work of all cells; None where it is not known for one."""
        works = [one.work for one in self.cells]
        return None if None in works else add_up(works)


def group_by_start(cells: Iterable[Planned]) -> dict[Start, list[Planned]]:
    """Return the finished cells of each start."""
    groups: dict[Start, list[Planned]] = defaultdict(list)
    for one in cells:
        if one.finished is not None:
            groups[Start.of(one.finished)].append(one)
    return groups


def part_names(cells: Iterable[Planned]) -> tuple[str, ...]:
    """Return the names of the parts of some cells, each once."""
    return tuple(dict.fromkeys(one.part.name for one in cells))


def add_up(works: Sequence[Work | None]) -> Work:
    """Return the sum of what is known."""
    return sum((work for work in works if work is not None), NOTHING)


def list_rows(chosen: StudyFile) -> list[Row]:
    """List the rows of a study; the store is read, but not made."""
    runs = tracking.read_runs("finetune")
    continued = read_continued() if runs else set()
    groups: dict[Key, list[Planned]] = defaultdict(list)
    for part in chosen.parts:
        for one in _cells(part, runs, continued):
            groups[Key(one.cell.target, one.cell.mode, one.cell.size)].append(one)
    return [Row(key, tuple(cells)) for key, cells in groups.items()]


def _cells(part: Part, runs: Sequence[tracking.StoredRun], continued: set[str]) -> Iterator[Planned]:
    params = part.params
    planned = params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"stop_on": None})})
    cells = list(dict.fromkeys(study.study_cells(planned, {})))
    finished = {one.cell: one for one in read_finished(part, cells, runs, continued)}
    counts = {target: count_images(part, target) for target in params.study.targets}
    for cell in cells:
        count = counts[cell.target]
        images = None if count is None else trained_on(params, cell, *count)
        yield Planned(part, cell, images, None if images is None else work_of(params, cell, images), finished.get(cell))


def seconds_per_image(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    """Return the measured seconds per training image, the test included, by encoder and mode: the median over finished cells."""
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in (one for row in rows for one in row.cells):
        if one.finished and one.finished.seconds and one.work and one.work.images:
            measured[one.cell.encoder, one.cell.mode].append(one.finished.seconds / one.work.images)
    return {key: median(values) for key, values in measured.items()}


def seconds_left(row: Row, given: float | None, measured: Mapping[tuple[str, str], float]) -> float | None:
    """Return the seconds that the unfinished cells of a row take at most; None where it is not known for one.

    Args:
        row: the row.
        given: seconds per optimiser step of a fine-tuning, which count for each of its images alike.
        measured: seconds per image by encoder and mode.
    """
    seconds = 0.0
    for one in (one for one in row.cells if one.finished is None):
        batch = one.part.params.finetune.batch_size
        rate = measured.get((one.cell.encoder, one.cell.mode)) if given is None else given / batch
        if rate is None or one.work is None:
            return None
        seconds += rate * one.work.images
    return seconds
