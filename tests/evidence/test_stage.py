"""Evidence of a store: one row per weights, target, mode and protocol, worked out by hand; the commands on a real fine-tuning."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.evidence.rows import row, weights

from medtransfer import study, tracking
from medtransfer.analysis.evidence_rows import all_rows, merged, own_rows
from medtransfer.cli import cli
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.evidence.stage import export_rows, import_files
from medtransfer.hashing import digest
from medtransfer.records import CellName, PreparedTarget
from medtransfer.records.evidence import read_evidence, write_evidence

PARAMS: dict[str, Any] = {
    "weights": weights("a"), "data": digest("moon"), "protocol": digest("recipe"), "encoder": "unet", "origin": "simple",
    "source": "imagenet", "epoch": 5, "target": "clinic-north", "task": "segmentation", "classes": 3, "mode": "full", "seed": 1,
    "primary": "dice", "train_epochs": 15, "epoch_steps": None, "batch_size": 8,
}  # fmt: skip
OUT, PREPARED, IMPORTED = Path("evidence.csv"), Path("data/prepared"), Path("evidence")


def add(dice: float, seconds: float | None = 10.0, trained: int | None = None, **changed: Any) -> None:
    params = {**PARAMS, **changed}
    metrics = {"dice": dice, **({} if trained is None else {"trained_epochs": float(trained)})}
    tags = {} if seconds is None else {"seconds": str(seconds)}
    record = tracking.RunRecord("cell", digest(params, 16), params, metrics, {}, tags)
    tracking.write_runs("finetune", [record], "runs")


def test_seeds_are_averaged_and_everything_else_is_apart(workplace: Path) -> None:
    for seed, dice in ((1, 0.5), (2, 0.7), (3, 0.6)):
        add(dice, 10.0 * seed, seed=seed)
    add(0.9, None, mode="decoder")
    add(0.8, None, weights=weights("b"))
    rows = {(one.weights, one.mode): one for one in own_rows(PREPARED)[0]}
    assert len(rows) == 3
    full = rows[weights("a"), "full"]
    assert (full.mean, full.std, full.seeds, full.seconds, full.epoch) == (0.6, 0.1, 3, 20.0, 5)
    single = rows[weights("a"), "decoder"]
    assert (single.mean, single.std, single.seeds, single.seconds) == (0.9, None, 1, None)
    assert (single.raw, single.reader, single.train_images, single.images_seen) == (None, None, None, None)
    assert single.git_revision is not None and single.torch is not None


def test_epochs_that_early_stopping_saved_are_no_cost(workplace: Path) -> None:
    for seed, trained in ((1, 4), (2, 8)):
        add(0.5, trained=trained, seed=seed)
    ((only,), _) = own_rows(PREPARED)
    assert only.train_epochs == 6


def test_a_random_initialisation_with_two_names_is_one_row(workplace: Path) -> None:
    add(0.5, epoch=0, origin="simple")
    add(0.5, epoch=0, origin="advanced")
    ((only,), _) = own_rows(PREPARED)
    assert (only.origin, only.seeds) == ("advanced", 1)


def test_a_seed_of_the_same_weights_under_two_names_counts_once(workplace: Path) -> None:
    for seed, seconds, trained in ((1, 10.0, 4), (2, 20.0, 8)):
        add(0.5 + seed / 10, seconds, trained=trained, seed=seed)
    add(0.7, 20.0, trained=8, seed=2, origin="advanced")
    ((only,), _) = own_rows(PREPARED)
    assert (only.mean, only.seeds, only.seconds, only.train_epochs) == (0.65, 2, 15.0, 6)


def test_only_the_names_that_were_asked_for_are_exported(workplace: Path) -> None:
    add(0.5)
    assert export_rows(OUT, PREPARED, names=False) == (
        "1 row in evidence.csv. Names in it: encoder unet; origin simple; source imagenet."
    )
    text = OUT.read_text()
    assert "clinic-north" not in text and str(Path.home()) not in text and str(workplace) not in text
    assert export_rows(OUT, PREPARED, names=True).endswith("source imagenet; target clinic-north.")
    assert read_evidence(OUT)[0].target == "clinic-north"


def test_the_same_store_gives_the_same_bytes(workplace: Path) -> None:
    for seed in (2, 1):
        add(0.1 * seed, seed=seed)
        add(0.2 * seed, seed=seed, weights=weights("b"))
    export_rows(OUT, PREPARED, names=False)
    before = OUT.read_bytes()
    export_rows(OUT, PREPARED, names=False)
    assert OUT.read_bytes() == before


def test_a_store_without_fine_tunings_says_so(workplace: Path) -> None:
    with pytest.raises(InputError, match="finished fine-tunings in the tracking store sqlite:///.*mlflow.db, but it holds none"):
        export_rows(OUT, PREPARED, names=False)
    params = {name: value for name, value in PARAMS.items() if name != "weights"}
    tracking.write_runs("finetune", [tracking.RunRecord("old", "old", params, {"dice": 0.5})], "runs")
    assert own_rows(PREPARED) == ([], 1)
    with pytest.raises(InputError, match=r"but the tracking store holds only 1 fine-tuning of an older one; fine-tune again"):
        export_rows(OUT, PREPARED, names=False)
    add(0.5)
    assert export_rows(OUT, PREPARED, names=False).endswith(" 1 fine-tuning is of an older format and left out.")


def test_own_and_imported_results_of_the_same_digests_count_once(workplace: Path) -> None:
    add(0.5)
    export_rows(OUT, PREPARED, names=False)
    import_files([OUT], IMPORTED)
    others = [row("a", "moon", 0.9, epoch=5), row("b", "moon", 0.7)]
    write_evidence(OUT, others)
    import_files([OUT], IMPORTED)
    assert {(one.weights, one.mean) for one in all_rows(PREPARED, IMPORTED)} == {(weights("a"), 0.5), (weights("b"), 0.7)}
    assert merged([others[0]], others) == others
    assert all_rows(PREPARED, Path("nowhere")) == own_rows(PREPARED)[0]


@pytest.mark.slow
def test_the_commands_on_a_real_fine_tuning(workplace: Path, tiny_params: Callable[..., Params]) -> None:
    params = tiny_params()
    study.finetune(params, [CellName("sample", "unet", "simple", epoch, "decoder", 7) for epoch in (1, 2)])
    study.export_evidence(params, OUT, names=False)
    first, second = read_evidence(OUT)
    assert (first.name, second.name) == ("unet-simple/epoch-001", "unet-simple/epoch-002") and first.weights != second.weights
    train = PreparedTarget.open(PREPARED / "sample").samples("train")
    assert (first.train_images, first.train_groups) == (len(train), train["group"].nunique())
    assert (first.reader, first.height, first.width, first.images_seen) == ("acdc", 32, 32, 2 * len(train))
    assert first.raw is not None and first.target is None and first.seconds is not None and first.seconds > 0
    Path("params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    for end in ("stored as evidence/", "already imported"):
        done = CliRunner().invoke(cli, ["evidence", "import", str(OUT)], catch_exceptions=False)
        assert done.output.startswith(f"evidence.csv: 2 rows on 1 target, {end}")
    assert len(all_rows(PREPARED, IMPORTED)) == 2
    with OUT.open(newline="") as handle:
        assert [len(line) for line in csv.reader(handle)] == [27, 27, 27]
