"""The replayed results can be explained: robustness by level, joined by key, without copies and without features."""

import csv
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from medtransfer import tracking
from medtransfer.config import Explain
from medtransfer.explain.association import associate
from medtransfer.explain.stage import run
from medtransfer.papers.hidy2024.explainable import read_replayed_cases
from medtransfer.papers.hidy2024.importing import mark_copies
from medtransfer.papers.hidy2024.store import Released

pytestmark = pytest.mark.long


def test_replayed_results_are_explained_without_features(replayed: tuple[Path, Path]) -> None:
    section = Explain.model_validate({"out": "explain", "results": "replay"})
    cases = read_replayed_cases()
    assert len(cases.cases) == 36
    text = run(section, lambda features: replace(cases, cases=cases.cases[:4]), 0.95).texts[0]
    assert "cannot be said: no configuration has four checkpoints after epoch 0" in text
    with Path("explain/explain.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {(int(row["epoch"]), int(row["level"])) for row in rows} == set(product((0, 1, 300), (-1, -2)))
    assert "cka" not in rows[0] and "robustness" in rows[0]
    (found,) = tracking.read_runs("explain")
    assert found.params["results"] == "replay" and found.params["configurations"] == "4"
    assert "they hold no encoders" in Path("explain/explain.md").read_text()
    assert len(list(Path("explain/figures").glob("*.png"))) == 2


def test_robustness_of_every_level_is_that_of_the_file(few_tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    downstream, robustness = few_tables
    scores = mark_copies(robustness)
    released = Released.of(downstream.assign(run="r"), scores, {})
    cases = read_replayed_cases(released)
    assert cases.level == -2
    for case in cases.cases:
        fields = case.pool.fields
        for (name, level), by_epoch in case.values.items():
            listed = robustness[
                (robustness["encoder"] == fields["encoder"]) & (robustness["scheme"] == fields["origin"])
                & (robustness["target"] == fields["target"]) & (robustness["distance"] == "cosine") & (robustness["margin"] == 0.5)
                & (robustness["level"] == level) & (robustness["pooled"] == (fields["mode"] == "decoder"))
            ]  # fmt: skip
            assert name == "robustness"
            assert by_epoch == pytest.approx(dict(zip(listed["epoch"], 1 - listed["loss"], strict=True)))
    rows = associate(cases.cases).rows
    assert {row.level for row in rows} == {level for case in cases.cases for level in case.levels}
