"""The table of scores: every value of the file, and as much on the terminal as fits it."""

from pathlib import Path

from medtransfer.records import FinishedScores, Score, Scores
from medtransfer.score.finished import FINISHED
from medtransfer.score.table import MOST_ROWS, TABLE, shown, write_table


def write(folder: Path, epochs: range, values: dict[str, float | None]) -> None:
    records = {
        epoch: Scores("moon", "0", "unet", "simple", "", epoch, "", "", 0.5 if epoch else None, 4, {}, [], {}) for epoch in epochs
    }
    metrics = {name: {epoch: Score(name, {}, value) for epoch in epochs} for name, value in values.items()}
    write_table(folder / TABLE, metrics, records)
    FinishedScores(request="0", cell="0", files={TABLE: "0"}).write(folder / FINISHED)


def test_a_table_has_a_row_per_epoch_and_dashes_for_what_is_not_defined(tmp_path: Path):
    write(tmp_path, range(2), {"robustness_pooled": 0.8125, "logme": -1.5, "leep": None})
    assert (tmp_path / TABLE).read_text().splitlines() == [
        "epoch,source_accuracy,robustness_pooled,logme,leep", "0,,0.8125,-1.5,", "1,0.5,0.8125,-1.5,",
    ]  # fmt: skip
    assert shown(tmp_path).splitlines() == [
        "| epoch | source accuracy | robustness pooled |  LogME |",
        "|------:|----------------:|------------------:|-------:|",
        "|     0 |               – |             0.812 | −1.500 |",
        "|     1 |           0.500 |             0.812 | −1.500 |",
    ]  # LEEP is defined nowhere


def test_of_many_scores_and_epochs_the_first_and_the_last_are_shown(tmp_path: Path):
    write(tmp_path, range(MOST_ROWS + 3), {f"score_{number}": float(number) for number in range(9)})
    lines = shown(tmp_path).splitlines()
    assert "score 5 |" in lines[0] and "score 6 |" not in lines[0]
    assert len(lines) == MOST_ROWS + 3 and lines[2].startswith("|     3 |")
    assert lines[-1] == f"3 further scores and 3 earlier epochs in {tmp_path / TABLE}"


def test_a_table_that_is_not_ours_is_not_shown(tmp_path: Path):
    (tmp_path / TABLE).write_text("name,value\na,b\n")
    FinishedScores(request="0", cell="0", files={}).write(tmp_path / FINISHED)
    assert shown(tmp_path) == ""
