"""The verdict on made-up rankings: what is compared with what, and what has no value."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from medtransfer.rank import ranking as ranking_module
from medtransfer.rank import tables
from medtransfer.rank.page import _table
from medtransfer.rank.ranking import Ranking
from medtransfer.rank.tables import baseline_rows, candidate_rows, overview_rows, score_rows
from medtransfer.rank.verdict import verdict
from medtransfer.records import Score
from medtransfer.records.ranked import RankedCandidate
from medtransfer.report.format import best_words

INPUT: dict[str, Any] = {"size": 32, "mean": [0.5] * 3, "std": [0.25] * 3, "channels": "RGB"}


def candidate(
    name: str, value: float | None, *, flags: dict[str, int] | None = None, accuracy: float | None = None
) -> RankedCandidate:  # fmt: skip
    noise = np.random.default_rng(crc32(name.encode())).normal(0, 0.001, 10)
    replicates = (value + noise).tolist() if value is not None else []
    return RankedCandidate(
        name=name, kind="checkpoint", build="unet", arguments={}, weights=name, audit="", input=INPUT, levels=[(8, 64)], level=-1,
        series="s", source="", epoch=5, source_accuracy=accuracy, cell="", images=40, groups=20,
        rows=[Score("ridge", {"level": -1}, value, flags=flags or {}, replicates=replicates)], notes={}, seconds=1.0,
        forward_seconds=0.5, memory=1.0,
    )  # fmt: skip


def ranked(*candidates: RankedCandidate, **changed: Any) -> Ranking:
    return Ranking("moon", "full", candidates, "ridge", 0.95, 100, 0, 3, **changed)


def said(*candidates: RankedCandidate, **changed: Any) -> list[str]:
    return verdict(ranked(*candidates, **changed))


@pytest.mark.parametrize(
    ("others", "missing"),
    [
        ([candidate("broken", 0.9, flags={"nonfinite": 3})], "broken has no value by it and is not compared."),
        ([candidate("one", None), candidate("two", None)], "one and two have no value by it and are not compared."),
    ],
)
def test_a_candidate_beside_those_without_a_value_is_above_nothing(others: list[RankedCandidate], missing: str) -> None:
    headline, line, *_ = said(candidate("good", 0.3), *others)
    assert headline == "Only one candidate has a value, good: ridge probe 0.300 on 40 images of 20 patients of moon."
    assert line == missing


def test_what_has_no_value_counts_in_no_comparison() -> None:
    missing = candidate("none", None)
    assert "good scores above the other one." in said(candidate("good", 0.3), candidate("poor", 0.2), missing)[0]
    three = said(candidate("good", 0.3), candidate("fair", 0.3001), candidate("poor", 0.2), missing)
    assert "with 95 % confidence the best is among 2 of 3 candidates: fair and good." in three[0]
    assert (
        "each of the 2 candidates may be the best: fair and good."
        in said(candidate("good", 0.3), candidate("fair", 0.3001), missing)[0]
    )
    assert three[1] == "none has no value by it and is not compared."


def test_what_was_left_out_is_named_beside_the_only_candidate() -> None:
    headline, line, *_ = said(candidate("good", 0.3), left_out={"torn": "expected a whole file"})
    assert (
        headline.startswith("Only one candidate could be measured, good: ") and line == "1 candidate could not be measured: torn."
    )
    assert said(candidate("good", 0.3))[0].startswith("There is one candidate, good: ")


@pytest.mark.parametrize(
    ("accuracies", "takes"),
    [
        ((None, None), "– (none known)"), ((0.5, None), "– (known of a single one, or of several sources)"), ((0.5, 0.6), "two"),
    ],
)  # fmt: skip
def test_why_a_baseline_takes_no_candidate_is_said(accuracies: tuple[float | None, ...], takes: str) -> None:
    pair = [candidate(name, 0.3, accuracy=accuracy) for name, accuracy in zip(("one", "two"), accuracies, strict=True)]
    rows = {row["baseline"]: row["takes"] for row in baseline_rows(ranked(*pair))}
    assert rows["source accuracy"].startswith(takes)


def test_an_auc_on_the_source_is_no_accuracy(tmp_path: Path) -> None:
    classes, labels = candidate("one", 0.3, accuracy=0.5), replace(candidate("two", 0.2, accuracy=0.958), source_metric="AUC")
    ranking = ranked(classes, labels, candidate("three", 0.1))
    shown = {row["candidate"]: row["source accuracy"] for row in overview_rows(ranking)}
    assert shown == {"one": 0.5, "two": "AUC 0.958", "three": None}
    page = _table(ranking)
    assert "AUC 0.958" in page and "0.500" in page
    kept = {row["candidate"]: (row["source_accuracy"], row["source_metric"]) for row in candidate_rows(ranking)}
    assert kept == {"one": (0.5, "accuracy"), "two": (0.958, "AUC"), "three": (None, None)}
    labels.write(tmp_path / "record.json")
    assert RankedCandidate.read(tmp_path / "record.json").source_metric == "AUC"
    record = json.loads((tmp_path / "record.json").read_text())
    del record["source_metric"]  # as an older version wrote it
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert RankedCandidate.read(tmp_path / "record.json").source_metric == "accuracy"


def test_each_value_is_read_once_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading all of them again for each row took 20 s of a thousand candidates by 35 indicators."""
    read, words = list[float](), list[int]()

    def count_values(row: Score) -> float:
        read.append(row.number)
        return row.number

    def count_words(kept: Sequence[bool | None]) -> list[str]:
        words.append(len(kept))
        return best_words(kept)

    monkeypatch.setattr(ranking_module, "reliable", count_values)
    monkeypatch.setattr(tables, "best_words", count_words)
    values = [0.9, 0.1, 0.4, 0.3, 0.2]
    ranking = ranked(*(candidate(f"c{number}", value) for number, value in enumerate(values)))
    assert [(row["candidate"], row["value"], row["rank"]) for row in score_rows(ranking)] == [
        ("c0", 0.9, 1), ("c1", 0.1, 5), ("c2", 0.4, 2), ("c3", 0.3, 3), ("c4", 0.2, 4),
    ]  # fmt: skip
    assert [row["best?"] for row in overview_rows(ranking)] == ["likely", "no", "no", "no", "no"]
    assert str(_table(ranking)).count("<u ") == 5  # the mark of a value
    assert read == values and words == [5, 5]
