"""Stage `evidence`: export the outcomes of the tracking store as one small table, and import those of others."""

from collections.abc import Sequence
from pathlib import Path

from medtransfer.analysis.evidence_rows import own_rows
from medtransfer.analysis.no_results import no_fine_tunings
from medtransfer.errors import InputError
from medtransfer.locks import exclusive
from medtransfer.records.evidence import EvidenceRow, import_evidence, read_evidence, write_evidence
from medtransfer.wording import are, counted


def export_rows(out: Path, prepared: Path, names: bool) -> str:
    """Write the evidence of the tracking store.

    Args:
        out: the CSV file to write.
        prepared: folder of all prepared targets, which say how many images a target has.
        names: whether to name the targets.

    Returns:
        The text for the terminal, with every name that the file holds.

    Raises:
        InputError: the store holds no finished fine-tuning, or only those of an older format.
    """
    rows, older = own_rows(prepared)
    if older and not rows:
        raise InputError(
            f"expected fine-tunings of this version's format to export, but the tracking store holds only "
            f"{counted(older, 'fine-tuning')} of an older one; fine-tune again with `medtransfer finetune`"
        )
    if not rows:
        raise no_fine_tunings()
    write_evidence(out, rows if names else [row.anonymous for row in rows])
    columns = ["encoder", "origin", "source", *(["target"] if names else [])]
    text = f"{counted(len(rows), 'row')} in {out}. Names in it: {_listed(rows, columns)}."
    return f"{text} {are(older, 'fine-tuning')} of an older format and left out." if older else text


def _listed(rows: Sequence[EvidenceRow], columns: Sequence[str]) -> str:
    return "; ".join(f"{column} {', '.join(sorted({str(getattr(row, column)) for row in rows}))}" for column in columns)


def import_files(files: Sequence[Path], out: Path) -> str:
    """Store evidence of others; nothing is stored unless every file is valid.

    Args:
        files: CSV files.
        out: folder of all imported evidence.

    Returns:
        The text for the terminal.

    Raises:
        InputError: a file is not valid evidence.
    """
    read = [(file, read_evidence(file)) for file in files]
    lines = []
    with exclusive(out):
        for file, rows in read:
            stored = import_evidence(rows, out)
            end = f"stored as {stored}" if stored else "already imported"
            lines.append(f"{file}: {counted(len(rows), 'row')} on {counted(len({row.data for row in rows}), 'target')}, {end}")
    return "\n".join(lines)
