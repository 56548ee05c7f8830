"""Maps of features that rankings left in the store, and whose of them a report shows."""

from pathlib import Path

import numpy as np
import pytest

from medtransfer import tracking
from medtransfer.analysis import feature_maps
from medtransfer.analysis.feature_maps import FEATURE_MAP, read_maps
from medtransfer.analysis.pool import Pool
from medtransfer.hashing import digest
from medtransfer.records.feature_map import FeatureMap
from medtransfer.tasks import TASKS


def tune(target: str, encoder: str, epoch: int, weights: str) -> str:
    """Write the run of a fine-tuning; return its id."""
    params = {"target": target, "data": digest(target), "encoder": encoder, "origin": "simple", "epoch": epoch, "weights": weights}
    cell = digest(params, 16)
    tracking.write_runs("finetune", [tracking.RunRecord("cell", cell, params, {"dice": 0.5})], "cells")
    found = tracking.find_finished("finetune", cell)
    assert found is not None
    return found.id


def draw(target: str, candidate: str, weights: str, first: float, mapped: bool = True) -> None:
    """Write the run of a ranked candidate, with a map whose first point is at (first, 1)."""
    file = Path("rank") / f"{candidate}-{first}.map.csv"
    if mapped:
        FeatureMap(np.array([[first, 1.0], [2.0, 3.0]]), ["ill", "well"]).write(file)
    params = {"target": target, "data": digest(target), "candidate": candidate, "weights": weights}
    record = tracking.RunRecord(
        candidate, digest([params, first], 16), params, {"ridge": 0.5}, tags={FEATURE_MAP: file.name} if mapped else {},
        artifacts={file.name: file} if mapped else {},
    )  # fmt: skip
    tracking.write_runs("rank", [record], "candidates")


def pool(target: str, encoder: str, runs: dict[tuple[int, int], str]) -> Pool:
    fields = {"source": "s", "origin": "simple", "encoder": encoder, "target": target, "mode": "full"}
    keys = tuple(sorted({key for key, _ in runs}))
    digests = {"pretraining": "p", "data": digest(target), "protocol": "q"}
    return Pool(fields, digests, dict.fromkeys(runs, 0.5), {}, keys, TASKS["segmentation"].primary, fine_tunings=runs)


def test_the_latest_fine_tuned_checkpoint_of_each_pretraining_is_shown(workplace: Path) -> None:
    pools = [
        pool("moon", "unet", {(epoch, 1): tune("moon", "unet", epoch, f"u{epoch}") for epoch in (1, 2, 3)}),
        pool("moon", "swin", {(1, 1): tune("moon", "swin", 1, "s1")}), pool("sun", "unet", {(1, 1): tune("sun", "unet", 1, "u1")}),
    ]  # fmt: skip
    assert read_maps(pools) == {}
    draw("moon", "unet e001", "u1", 0.25)
    draw("moon", "unet e002", "u2", 0.5)
    draw("moon", "unet e003", "u3", 0.75, mapped=False)  # by an earlier version
    draw("moon", "other", "o1", 0.125)  # not fine-tuned
    draw("mars", "unet e001", "u1", 0.625)  # another target
    draw("moon", "swin e001", "s1", 0.875)
    draw("moon", "swin e001", "s1", 1.5)  # newer
    maps = read_maps(pools)
    assert {target: list(named) for target, named in maps.items()} == {"moon": ["swin e001", "unet e002"]}
    found = maps["moon"]
    assert found["unet e002"].positions.tolist() == [[0.5, 1.0], [2.0, 3.0]] and found["unet e002"].classes == ["ill", "well"]
    assert found["swin e001"].positions[0, 0] == 1.5
    assert list(read_maps(pools[1:2])["moon"]) == ["swin e001"]


def test_of_many_pretrainings_the_first_are_shown(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_maps, "MOST", 2)
    pools = [pool("moon", name, {(1, 1): tune("moon", name, 1, name)}) for name in ("c", "a", "b")]
    for name in "abc":
        draw("moon", name, name, 0.5)
    assert list(read_maps(pools)["moon"]) == ["a", "b"]


def test_a_map_whose_file_is_gone_is_left_out(workplace: Path) -> None:
    pools = [pool("moon", "unet", {(1, 1): tune("moon", "unet", 1, "u1")})]
    draw("moon", "unet e001", "u1", 0.5)
    (run,) = tracking.read_runs("rank")
    with tracking.artifact_folder(run.id, run.tags[FEATURE_MAP]) as path:
        path.unlink()
    assert read_maps(pools) == {}
