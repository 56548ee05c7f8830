"""Comparisons of encoders that the store has, and which of them a report shows."""

from pathlib import Path

import pytest

from medtransfer import tracking
from medtransfer.analysis import similarities
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.similarities import SIMILARITY, read_similarities
from medtransfer.hashing import digest
from medtransfer.records.similarity import SIMILARITY_FILE, Similarity
from medtransfer.tasks import TASKS


def compare(target: str, value: float, data: str = "") -> None:
    """Write the run of a comparison whose two encoders have one level each."""
    similarity = Similarity(
        target, data or digest(target), "train", 20, 10, "unbiased", "flat", -1, ["a", "b"], ["x", "y"], [[[8, 4]], [[8, 6]]],
        [[1.0, value], [value, 1.0]], digest([target, data, value], 16),
    )  # fmt: skip
    file = Path("cka") / f"{value}" / SIMILARITY_FILE
    similarity.write(file)
    params = {"target": target, "data": similarity.data}
    record = tracking.RunRecord(
        "a ~ b", similarity.cell, params, tags={SIMILARITY: file.name}, artifacts={file.name: file}
    )  # fmt: skip
    tracking.write_runs("cka", [record], "comparisons")


def pool(target: str) -> Pool:
    fields = {"source": "s", "origin": "simple", "encoder": "unet", "target": target, "mode": "full"}
    digests = {"pretraining": "p", "data": digest(target), "protocol": "q"}
    return Pool(fields, digests, {(1, 1): 0.5}, {}, (1,), TASKS["segmentation"].primary, fine_tunings={(1, 1): "r"})


def values(pools: list[Pool]) -> dict[str, list[float]]:
    return {target: [float(one.matrix[0, 1]) for one in found] for target, found in read_similarities(pools).items()}


def test_the_newest_comparisons_on_the_images_of_the_reports_targets(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [pool("sun"), pool("moon"), pool("moon")]
    assert read_similarities(pools) == {}
    compare("moon", 0.25)
    compare("moon", 0.5)
    compare("mars", 0.125)
    compare("moon", 0.75, data="other images")
    assert values(pools) == {"moon": [0.5, 0.25]}
    compare("sun", 0.375)
    assert values(pools) == {"moon": [0.5, 0.25], "sun": [0.375]} and list(read_similarities(pools)) == ["moon", "sun"]
    monkeypatch.setattr(similarities, "MOST", 1)
    assert values(pools) == {"moon": [0.5], "sun": [0.375]}


def test_a_comparison_whose_file_is_gone_is_left_out(workplace: Path) -> None:
    compare("moon", 0.5)
    compare("moon", 0.25)
    newest = tracking.read_runs("cka")[0]
    with tracking.artifact_folder(newest.id, newest.tags[SIMILARITY]) as path:
        path.unlink()
    assert values([pool("moon")]) == {"moon": [0.5]}
