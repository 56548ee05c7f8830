"""Find how each block of the paper's tables must have joined scores and Dice.

Each block of cells is computed under every possible alignment, and the one that reproduces most of its printed numbers is
called `as published`. Joining by key wins ties.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

from scipy.stats import norm

from medtransfer.papers.hidy2024.printed import ROWS, Printed
from medtransfer.papers.hidy2024.released import POOLING, Alignment, Missing, Recomputed, Value

ROUNDING = 0.0005 + 1e-9  # half a unit of the last printed digit
REPRODUCED, NOISE, CONTRADICTED, MISSING = "reproduced", "within noise", "contradicted", "not recomputable"


def tolerance(value: Value, confidence: float, others: Collection[str]) -> float:
    """Return how far a printed number may be from the recomputed one by chance.

    Where the printed numbers come from the released runs themselves, chance explains nothing but the rounding.

    Args:
        value: recomputed value.
        confidence: confidence of the two-sided interval.
        others: datasets whose printed numbers come from other runs than the released ones, so that both vary.
    """
    variance = sum(noise**2 for target, noise in value.noise.items() if target in others)
    return ROUNDING + _quantile(confidence) * (2 * variance) ** 0.5


@lru_cache
def _quantile(confidence: float) -> float:
    """Return how many standard deviations the two-sided interval reaches to either side."""
    return float(norm.ppf((1 + confidence) / 2))


def verdict(printed: float, value: Value, confidence: float, others: Collection[str]) -> str:
    """Compare a printed number with the recomputed one."""
    difference = abs(value.value - printed)
    if difference <= ROUNDING:
        return REPRODUCED
    return NOISE if difference <= tolerance(value, confidence, others) else CONTRADICTED


def other_runs(cells: Sequence[Printed], recomputed: Recomputed) -> set[str]:
    """Return the datasets most of whose printed Dice (tables 1 and 2, which need no alignment) are not reproduced."""
    differ: dict[str, list[bool]] = {}
    for cell in cells:
        if ROWS[cell.row].block == "Dice" and (value := _value(cell, recomputed, Alignment())):
            differ.setdefault(cell.dataset, []).append(abs(value.value - cell.printed) > ROUNDING)
    return {dataset for dataset, flags in differ.items() if sum(flags) > len(flags) / 2}


@dataclass(frozen=True)
class Block:
    """Cells that were computed together, and the alignment that reproduces them best.

    Attributes:
        name: table, scheme and kind of rows.
        alignment: alignment as published.
        cells: number of cells that can be recomputed.
        reproduced: number of cells reproduced to the printed digits with this alignment.
        agreeing: number of cells reproduced or within noise with this alignment.
        keyed: number of cells reproduced or within noise when joined by key.
    """

    name: tuple[str, str, str]
    alignment: Alignment
    cells: int
    reproduced: int
    agreeing: int
    keyed: int


def find_alignments(cells: Sequence[Printed], recomputed: Recomputed, confidence: float) -> dict[tuple[str, str, str], Block]:
    """Find the alignment of every block: first the rotation of the Dice of each scheme, then the scores.

    The rotation is found from the rows that need no scores (full and no pretraining).
    """
    others = other_runs(cells, recomputed)
    schemes = sorted({cell.scheme for cell in cells if cell.scheme})
    baselines = [cell for cell in cells if ROWS[cell.row].block == "baselines" and cell.scheme]
    rotation = {
        scheme: _best(
            [cell for cell in baselines if cell.scheme == scheme],
            (Alignment({scheme: places}) for places in range(len(recomputed.epochs))), recomputed, confidence, others,
        ).alignment.rotation[scheme]
        for scheme in schemes
    }  # fmt: skip
    blocks: dict[tuple[str, str, str], list[Printed]] = {}
    for cell in cells:
        blocks.setdefault(block_of(cell), []).append(cell)
    targets = sorted({cell.dataset for cell in cells if cell.dataset})
    return {
        name: _best(members, _hypotheses(members, rotation, targets), recomputed, confidence, others, name)
        for name, members in blocks.items()
    }


def block_of(cell: Printed) -> tuple[str, str, str]:
    """Return the name of a cell's block; both halves of table 3 form one block, since they average the same choices."""
    return cell.table.removesuffix("a").removesuffix("b"), cell.scheme, cell.block


def _hypotheses(members: Sequence[Printed], rotation: Mapping[str, int], targets: Sequence[str]) -> Iterable[Alignment]:
    """List the possible alignments of a block, joining by key first."""
    rows = [ROWS[cell.row] for cell in members]
    rotation = {scheme: places for scheme, places in rotation.items() if members[0].scheme in {"", scheme}}
    if not any(row.kind in {"offline", "online"} for row in rows):
        return [Alignment({} if rows[0].block == "Dice" else rotation)]
    datasets = sorted({cell.dataset for cell in members})
    labels: list[dict[str, str]] = [{datasets[0]: target} for target in sorted(targets, key=lambda target: target != datasets[0])]
    if len(datasets) > 1:
        labels = [dict(zip(targets, order, strict=True)) for order in permutations(targets)]
    poolings = list(POOLING) if any(row.pooled is None for row in rows) else ["frozen"]
    return [Alignment(rotation, mapping, pooling, copies=True) for pooling, mapping in product(poolings, labels)]


def _best(
    members: Sequence[Printed], hypotheses: Iterable[Alignment], recomputed: Recomputed, confidence: float, others: set[str],
    name: tuple[str, str, str] = ("", "", ""),
) -> Block:  # fmt: skip
    """Rank alignments: two points per reproduced cell, one per cell within noise; then by the mean difference."""
    tried = [(alignment, *_agreement(members, alignment, recomputed, confidence, others)) for alignment in hypotheses]
    alignment, agreeing, reproduced, _, count = max(
        tried, key=lambda trial: (trial[1] + trial[2], -round(trial[3], 9))
    )  # the first wins
    return Block(name, alignment, count, reproduced, agreeing, _agreement(members, Alignment(), recomputed, confidence, others)[0])


def _agreement(
    members: Sequence[Printed], alignment: Alignment, recomputed: Recomputed, confidence: float, others: set[str]
) -> tuple[int, int, float, int]:
    """Return the numbers of agreeing and of reproduced cells, the mean difference, and the number of cells."""
    values = [(cell, value) for cell in members if (value := _value(cell, recomputed, alignment))]
    verdicts = [verdict(cell.printed, value, confidence, others) for cell, value in values]
    distance = sum(abs(value.value - cell.printed) for cell, value in values) / len(values) if values else 0.0
    return len(values) - verdicts.count(CONTRADICTED), verdicts.count(REPRODUCED), distance, len(values)


def _value(cell: Printed, recomputed: Recomputed, alignment: Alignment) -> Value | None:
    try:
        return recomputed.cell(cell, alignment)
    except Missing:
        return None
