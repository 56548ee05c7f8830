"""Fine-tunings that are evaluated on validation samples: what they hold out, and that a training is done once for both."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.fakes import Watched

from medtransfer import study, tracking
from medtransfer.analysis.evidence_rows import own_rows
from medtransfer.analysis.pools import collect
from medtransfer.config import Params
from medtransfer.data.held_out import hold_out
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.finetune.stage import run
from medtransfer.hashing import file_sha256
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.records import CellName, ModelInfo, PreparedTarget, Result
from medtransfer.tasks import TASKS

pytestmark = pytest.mark.long

CELL = CellName("sample", "unet", "simple", 1, "full", 7)
HELD = {"validation": 0.34, "validation_seed": 0}


@pytest.fixture(scope="module")
def inputs(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    study.prepare(tiny_params())
    study.prepare(tiny_params({"prepare.out": "data/validated", "prepare.targets.sample.validation": 0.34}))
    study.pretrain(tiny_params({"pretrain.epochs": 1, "pretrain.checkpoints": [1]}))
    return shared_workplace


@pytest.fixture
def tune(inputs: Path, workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Result]:
    """Return `tune("validation", mode=…)` in an empty folder of work with the inputs."""
    for name in ("checkpoints", "data"):
        (workplace / name).symlink_to(inputs / name)

    def tune(
        evaluate: str, out: str = "models", prepared: str = "data/prepared", mode: str = "full", force: bool = False,
        portion: dict[str, Any] = {}, **changed: Any,  # noqa: B006
    ) -> Result:  # fmt: skip
        values = {"out": out, "evaluate": evaluate, **HELD, **changed}
        params = tiny_params({f"finetune.{key}": value for key, value in values.items()})
        cell = CellName(**{**vars(CELL), "mode": mode, **portion})
        (result,) = run(params.finetune, [cell], Path("checkpoints"), Path(prepared), force)
        return result

    return tune


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    task = Watched()
    monkeypatch.setitem(TASKS, "segmentation", task)
    return task


def groups(folder: str = "models", mode: str = "full") -> set[str]:
    with (CellName(**{**vars(CELL), "mode": mode}).folder(Path(folder)) / "per_image.csv").open() as file:
        return {row["group"] for row in csv.DictReader(file)}


def test_groups_held_out_are_those_that_prepare_would_draw(inputs):
    drawn = PreparedTarget.open(Path("data/validated/sample"))
    held = hold_out(PreparedTarget.open(Path("data/prepared/sample")), 0.34, 0)
    assert held.held_out == set(drawn.samples("validation")["group"])
    for split in ("train", "validation", "test"):
        assert held.samples(split).equals(drawn.samples(split))
    assert hold_out(held, 0, 0) is held


def test_only_training_groups_are_held_out_and_some_are_left(inputs):
    whole = PreparedTarget.open(Path("data/prepared/sample"))
    held = [hold_out(whole, 0.34, seed).held_out for seed in range(8)]
    assert len(set(held)) > 1 and all(groups <= set(whole.samples("train")["group"]) for groups in held)
    with pytest.raises(InputError, match="left to train on"):
        hold_out(whole, 0.99, 0)
    with pytest.raises(InputError, match="has some"):
        hold_out(PreparedTarget.open(Path("data/validated/sample")), 0.34, 0)


def test_groups_that_share_an_image_are_held_out_together(inputs, tmp_path):
    shutil.copytree(Path("data/prepared/sample"), tmp_path / "copied")
    whole = PreparedTarget.open(tmp_path / "copied")
    first = whole.samples("train").groupby("group")["row"].first()
    images = np.load(tmp_path / "copied/images.npy")
    images[first.iloc[0]] = images[first.iloc[1]]
    np.save(tmp_path / "copied/images.npy", images)
    shared = set(first.index[:2])
    for seed in range(8):
        held = hold_out(PreparedTarget.open(tmp_path / "copied"), 0.1, seed).held_out
        assert shared <= held or not shared & held


def test_the_test_set_is_not_looked_at(tune):
    target = PreparedTarget.open(Path("data/validated/sample"))
    result = tune("validation")
    assert groups() == set(target.samples("validation")["group"])
    assert result.metrics["validation_images"] == len(target.samples("validation"))
    assert not any(name.startswith("test_") for name in result.metrics)
    assert result.metrics["dice"] == pytest.approx(result.curves["validation_dice"][-1])  # the last model is kept


@pytest.mark.parametrize("order", [("validation", "test"), ("test", "validation")])
def test_a_training_is_done_once_for_both(order, tune, watched):
    for mode in ("full", "decoder"):
        watched.epochs.clear()
        first, second = (tune(evaluate, out=evaluate, mode=mode) for evaluate in order)
        assert sorted(set(watched.epochs)) == [1, 2] and len(watched.epochs) == 2
        assert first.curves == second.curves and first.encoder_hash == second.encoder_hash
        assert first.key != second.key and first.metrics["dice"] != second.metrics["dice"]
        files = {file_sha256(next(Path(out).rglob(f"*{mode}*/weights.safetensors"))) for out in order}
        assert len(files) == 1 and not groups("test", mode) & groups("validation", mode)
    alone = tune("test", out="alone", lr=0.05, validation_seed=1)  # another recipe has no twin
    assert len(watched.epochs) == 4 and alone.key != second.key


def test_a_portion_goes_the_whole_way(tune):
    portion = {"size": 6, "fold": 2, "folds": 2}
    result = tune("validation", mode="decoder", validation=0.0, portion=portion)
    tested = tune("test", mode="decoder", out="tested", validation=0.0, portion=portion)
    folder = Path("models/sample/unet-simple/e001-decoder-s7-n6-f2of2")
    with (folder / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    others = PreparedTarget.open(Path("data/prepared/sample"))
    assert {row["group"] for row in rows} < set(others.samples("train")["group"])
    assert (result.metrics["train_images"], result.metrics["train_repeats"]) == (6, 0)
    assert tested.metrics["test_images"] == len(others.samples("test"))
    params = tracking.read_runs("finetune")[0].params
    assert {name: params[name] for name in portion} == {"size": "6", "fold": "2", "folds": "2"}
    assert ModelInfo.read(folder / "model.json").cell["size"] == 6


def test_the_same_bits_as_a_training_of_its_own(tune, watched):
    tune("validation", out="race")
    tested = tune("test")
    trained = tune("test", force=True)
    assert len(watched.epochs) == 4 and trained.metrics == tested.metrics and trained.curves == tested.curves


def test_without_its_weights_it_is_trained_again(tune, watched):
    tune("validation", out="race", keep="metrics")
    tune("test")
    assert len(watched.epochs) == 4


def test_validation_results_are_no_outcomes(tune):
    tune("validation", out="race")
    assert tracking.read_runs("finetune") and own_rows(Path("data/prepared")) == ([], 0)
    tune("test")
    (pool,), left_out = collect(RobustnessSetting("cosine", 0.5, -2, "frozen"))
    assert len(pool.outcome) == 1 and left_out == []
    assert len(own_rows(Path("data/prepared"))[0]) == 1


def test_samples_that_the_recipe_needs_must_exist(tune):
    with pytest.raises(InputError, match=r"since finetune\.evaluate is `validation`"):
        tune("validation", validation=0.0)
    with pytest.raises(InputError, match="set finetune.validation to 0"):
        tune("validation", prepared="data/validated")


def test_recipes_without_the_options_keep_their_digest(tiny_params):
    plain = Protocol.of(tiny_params().finetune)
    settings = {name: value for name, value in vars(plain).items() if name not in {"evaluate", *HELD}}
    assert Protocol.read(settings) == plain and Protocol.read(settings).key == plain.key
    assert Protocol.of(tiny_params({"finetune.evaluate": "validation"}).finetune).key != plain.key
