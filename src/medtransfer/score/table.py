"""Table of the scores of a folder: one row per epoch, as a file and for the terminal."""

from collections.abc import Mapping
from pathlib import Path

from medtransfer.records import FinishedScores, Score, Scores, write_text
from medtransfer.records.tables import as_csv, as_markdown, read_table
from medtransfer.score.finished import FINISHED
from medtransfer.selectors.score_names import score_label
from medtransfer.wording import counted

TABLE = "scores_by_epoch.csv"
KNOWN = ("epoch", "source_accuracy")  # columns that are no scores
MOST_COLUMNS, MOST_ROWS = 6, 40  # scores and epochs on the terminal


def write_table(path: Path, metrics: Mapping[str, Mapping[int, Score]], scores: Mapping[int, Scores]) -> None:
    """Write the source accuracy and every metric by epoch; an empty field is not known or not defined.

    Args:
        path: path of the CSV file.
        metrics: rows by metric name and epoch, those that are shown first at the beginning.
        scores: scores by epoch.
    """
    rows = [
        {
            "epoch": epoch, "source_accuracy": scores[epoch].source_accuracy,
            **{metric: rows[epoch].value for metric, rows in metrics.items()},
        }
        for epoch in sorted(scores)
    ]  # fmt: skip
    write_text(path, as_csv(rows))


def shown(folder: Path) -> str:
    """Return the table of finished scores for the terminal: the last epochs and the first scores, where there are many.

    Empty if the folder has none, as those of earlier versions.
    """
    if not (folder / FINISHED).is_file() or TABLE not in FinishedScores.read(folder / FINISHED).files:
        return ""
    table = read_table(folder / TABLE, "score again with --force")
    defined = [name for index, name in enumerate(table.columns) if any(row[index] for row in table.rows)]
    scores = [name for name in defined if name not in KNOWN]
    names = [name for name in defined if name in KNOWN or name in scores[:MOST_COLUMNS]]
    rows = [
        {score_label(name): _number(name, row[table.columns.index(name)]) for name in names} for row in table.rows[-MOST_ROWS:]
    ]  # fmt: skip
    beyond = {"further score": len(scores) - MOST_COLUMNS, "earlier epoch": len(table.rows) - MOST_ROWS}
    left = [counted(number, what) for what, number in beyond.items() if number > 0]
    more = f"\n{' and '.join(left)} in {folder / TABLE}" if left else ""
    return f"{as_markdown(rows)}{more}"


def _number(name: str, field: str) -> float | int | None:
    return None if field == "" else int(field) if name == "epoch" else float(field)
