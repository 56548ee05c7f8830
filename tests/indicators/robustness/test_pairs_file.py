"""Pairs and scores come back from their files as they went in, and the table is the formula on the pairs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtransfer.errors import InputError
from medtransfer.indicators.robustness.distances import DISTANCES
from medtransfer.indicators.robustness.measure import Pairs
from medtransfer.indicators.robustness.pairs_file import read_pairs, summarise, write_pairs
from medtransfer.records import CheckpointInfo, Scores

SETTINGS: dict[str, Any] = {"split": "train", "seed": 0}


@pytest.fixture
def pairs() -> Pairs:
    """Give distances of 5 images, 2 repeats, at levels -2 and -1."""
    rng = np.random.default_rng(1)
    keys = [(name, level, pooled) for name in DISTANCES for level in (-2, -1) for pooled in (False, True)]
    tables = [{key: rng.random((2, 5), dtype=np.float32) for key in keys} for _ in range(2)]
    counts = {(level, pooled): {"nonfinite": 0, "zero": 3, "constant": 4} for level in (-2, -1) for pooled in (False, True)}
    return Pairs(*tables, images=[f"käse {i}#0@0,0" for i in range(5)], counts=counts, notes=["a note"])


@pytest.fixture
def info() -> CheckpointInfo:
    return CheckpointInfo(
        encoder="unet", build="unet", arguments={}, levels=[[1, 4]], multiple=1, epoch=20, source="s", source_classes=[],
        origin="simple", kind="supervised", parts=["encoder"], metrics={"source_accuracy": 0.5}, input={}, seed=1, pretraining="p",
        weights="w", git_revision="none",
    )  # fmt: skip


def test_pairs_round_trip(pairs: Pairs, tmp_path: Path):
    write_pairs(tmp_path / "new" / "epoch-020.npz", pairs)
    found = read_pairs(tmp_path / "new" / "epoch-020.npz")
    assert found.images == pairs.images
    for table, expected in ((found.d_pos, pairs.d_pos), (found.d_neg, pairs.d_neg)):
        assert table.keys() == expected.keys()
        for key, values in table.items():
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, expected[key])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["epoch-020.npz"]


def test_the_table_is_the_formula_on_the_pairs(pairs: Pairs, info: CheckpointInfo):
    table = summarise(pairs, info, "t", "data", SETTINGS, [0.0, 0.5]).table
    assert len(table) == len(pairs.d_pos) * 2
    for line in table:
        key = (line["distance"], line["level"], line["pooled"])
        losses = np.maximum(0, pairs.d_pos[key].astype(float) - pairs.d_neg[key] + line["margin"])  # (2, 5)
        assert line["robustness"] == pytest.approx(1 - losses.mean())
        assert line["standard_error"] == pytest.approx(losses.mean(axis=0).std(ddof=1) / np.sqrt(5))


def test_scores_round_trip_with_counts_and_notes(pairs: Pairs, info: CheckpointInfo, tmp_path: Path):
    scores = summarise(pairs, info, "t", "data", SETTINGS, [0.5])
    scores.write(tmp_path / "epoch-020.json")
    assert Scores.read(tmp_path / "epoch-020.json") == scores
    assert (scores.epoch, scores.images, scores.source_accuracy, scores.notes) == (20, 5, 0.5, ["a note"])
    assert {"level": -2, "pooled": True, "nonfinite": 0, "zero": 3, "constant": 4} in scores.counts


def test_a_record_of_another_kind_is_refused(info: CheckpointInfo, tmp_path: Path):
    info.write(tmp_path / "epoch-020.json")
    with pytest.raises(InputError, match="medtransfer/scores/1"):
        Scores.read(tmp_path / "epoch-020.json")
