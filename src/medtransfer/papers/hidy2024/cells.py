"""Verdicts on all printed cells, with reasons: the rows of cells.csv."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medtransfer.papers.hidy2024.alignment import (
    CONTRADICTED,
    MISSING,
    NOISE,
    REPRODUCED,
    ROUNDING,
    Block,
    block_of,
    find_alignments,
    other_runs,
    tolerance,
    verdict,
)
from medtransfer.papers.hidy2024.printed import Printed, printed_cells
from medtransfer.papers.hidy2024.released import KEYED, Alignment, Missing, Recomputed, Value

VERDICTS = (REPRODUCED, NOISE, CONTRADICTED, MISSING)


@dataclass(frozen=True)
class Cell:
    """One printed cell with its values and verdicts in both alignments.

    Attributes:
        printed: the printed cell.
        as_published: value in the alignment of its block; None if it cannot be recomputed.
        keyed: value joined by key; None if it cannot be recomputed.
        verdict: verdict on the printed number by `keyed`.
        verdict_as_published: verdict on the printed number by `as_published`.
        reason: reason for the verdict, one sentence.
    """

    printed: Printed
    as_published: float | None
    keyed: float | None
    verdict: str
    verdict_as_published: str
    reason: str


def judge_cells(recomputed: Recomputed, confidence: float) -> tuple[list[Cell], dict[tuple[str, str, str], Block]]:
    """Recompute every printed cell in both alignments and compare.

    Returns:
        The cells in the order of the paper, and their blocks by name.
    """
    printed = printed_cells()
    blocks = find_alignments(printed, recomputed, confidence)
    others = other_runs(printed, recomputed)
    return [_judge(cell, blocks[block_of(cell)].alignment, recomputed, confidence, others) for cell in printed], blocks


def _judge(cell: Printed, alignment: Alignment, recomputed: Recomputed, confidence: float, others: set[str]) -> Cell:
    try:
        keyed, published = recomputed.cell(cell, KEYED), recomputed.cell(cell, alignment)
    except Missing as error:
        return Cell(cell, None, None, MISSING, MISSING, f"{error}")
    by_key, as_published = (verdict(cell.printed, value, confidence, others) for value in (keyed, published))
    reason = _reason(cell, keyed, published, by_key, as_published, alignment, tolerance(keyed, confidence, others), others)
    return Cell(cell, published.value, keyed.value, by_key, as_published, reason)


def _reason(
    cell: Printed, keyed: Value, published: Value, by_key: str, as_published: str, alignment: Alignment, allowed: float,
    others: set[str],
) -> str:  # fmt: skip
    if by_key == REPRODUCED:
        return "the printed digits come out joined by key"
    varied = sorted(others & set(keyed.noise))
    runs = f"; the released fine-tunings of {' and '.join(varied)} are partly others than the printed ones" if varied else ""
    explained = (
        f"noise over seeds explains {allowed:.3f}" if varied else "the runs are the printed ones, so that noise explains nothing"
    )
    difference = f"joined by key {keyed.value - cell.printed:+.3f} against the printed value, where {explained}"
    if by_key == NOISE:
        return difference + runs
    if as_published != CONTRADICTED:
        digits = "to the digits" if as_published == REPRODUCED else "within noise"
        return f"{difference}; the printed value comes out {digits} if {describe(alignment, cell.dataset)}{runs}"
    return f"{difference}; it does not come out as published either ({published.value:.3f}){_tied(cell, published)}{runs}"


def _tied(cell: Printed, value: Value) -> str:
    """Return a clause if the choice was tied and another of the tied checkpoints gives the printed value, else nothing."""
    fitting = [str(epoch) for epoch, other in value.ties.items() if abs(other - cell.printed) <= ROUNDING]
    if fitting:
        return f", but its choice is tied to the last bit, and length {fitting[0]}, which ties, gives the printed value"
    return ""


def describe(alignment: Alignment, dataset: str = "") -> str:
    """Describe how an alignment differs from joining by key, for one dataset if it is named."""
    parts = [
        f"the Dice of scheme {scheme} stand {places} length{'s' if places > 1 else ''} too early against the scores"
        for scheme, places in alignment.rotation.items() if places
    ]  # fmt: skip
    parts += [
        f"the scores labelled {label} are taken for {target}"
        for target, label in alignment.labels.items() if label != target and dataset in {"", target}
    ]  # fmt: skip
    if alignment.pooling == "inverted":
        parts.append("features are pooled for full training and flattened for decoder-only training, against the text")
    elif alignment.pooling != "frozen":
        parts.append(f"features are {'always' if alignment.pooling == 'always' else 'never'} pooled")
    if alignment.copies:
        parts.append("the copied scores of length 0 take part")
    return " and ".join(parts) or "scores and Dice are joined by key"


def cell_rows(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """Return the rows of cells.csv."""
    return [
        {
            "table": cell.printed.table, "row": cell.printed.row, "dataset": cell.printed.dataset, "scheme": cell.printed.scheme,
            "encoder": cell.printed.encoder, "mode": cell.printed.mode, "printed": f"{cell.printed.printed:.3f}",
            "as_published": cell.as_published, "keyed": cell.keyed, "verdict": cell.verdict, "reason": cell.reason,
            "verdict_as_published": cell.verdict_as_published,
        }
        for cell in cells
    ]  # fmt: skip


def alignment_rows(blocks: Mapping[tuple[str, str, str], Block]) -> list[dict[str, object]]:
    """Return the rows of alignments.csv, one per block."""
    return [
        {
            "table": table, "scheme": scheme, "rows": rows, "cells": block.cells, "reproduced": block.reproduced,
            "agreeing": block.agreeing, "agreeing_keyed": block.keyed, "as_published": describe(block.alignment),
        }
        for (table, scheme, rows), block in blocks.items()
    ]  # fmt: skip


def count_rows(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """Count the verdicts of each table in both alignments."""
    rows: list[dict[str, object]] = []
    for table in dict.fromkeys(cell.printed.table for cell in cells):
        members = [cell for cell in cells if cell.printed.table == table]
        for name in ("keyed", "as published"):
            counts = Counter(cell.verdict if name == "keyed" else cell.verdict_as_published for cell in members)
            rows.append({"table": table, "alignment": name, "cells": len(members), **{kind: counts[kind] for kind in VERDICTS}})
    return rows
