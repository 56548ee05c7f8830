"""What is refused before checkpoints are made for it, since they take far longer than the targets."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny_encoders import TINIEST

from medtransfer import environment, study
from medtransfer.decoders import require_head
from medtransfer.encoders import ENCODERS, build
from medtransfer.encoders.arguments import _parameters, check_arguments, parameters_of
from medtransfer.encoders.unet import UNetEncoder
from medtransfer.errors import InputError, StageError
from medtransfer.grid import stage as grid
from medtransfer.grid.forecast import forecast
from medtransfer.guard import stage as guard
from medtransfer.records import CellName, CheckpointInfo

pytestmark = pytest.mark.long

LOSS = "expected finetune.loss to be one of .*dice.*, or null, but got 'nowhere'"
WEIGHTS = "expected 4 finetune.class_weights for .*sample, .*but got"
SIZE = r"multiples of \d+ pixels for the encoder unet, but got 60x60 in .*sample"
LABELS = "expected masks.npy among the arrays in .*, which leep needs"
DEVICE = "expected accelerator 'gpu' on this machine, but it has no driver"
WRONG = {"finetune.class_weights": [1, 2]}
SMALL = {"prepare.targets.sample.size": [60, 60]}
UNKNOWN = {"pretrain.encoders.unet.depht": 3}
RECIPES = [
    ({"finetune.loss": "nowhere"}, LOSS),
    (WRONG, WEIGHTS),
    ({"study.modes": ["linear"]}, "expected a target with labels of images for the mode linear"),
    ({"finetune.select": "validation"}, "expected validation samples in .*, since finetune.select is `validation`"),
    ({"finetune.augmentation": [{"HorizontalFlop": {}}]}, "HorizontalFlop"),
    ({"finetune.validation": 0.67, "study.folds": 2}, "expected finetune.validation 0 beside folds"),
]
SWIN = ({"finetune.decoder": "swin"}, "for the decoder swin, but the encoder unet has")
UNBUILT = ({"pretrain.encoders.unet.width": 0}, "cannot build the encoder unet: expected width to be 1 positive whole number")
SHORT = {"pretrain.epochs": 1, "pretrain.checkpoints": [1]}


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "has_driver", lambda: False)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_source_of_an_encoder_names_its_arguments(name: str, monkeypatch: pytest.MonkeyPatch):
    address = f"{ENCODERS[name].__module__}:{ENCODERS[name].__name__}"
    imported = parameters_of(ENCODERS[name])
    monkeypatch.setitem(ENCODERS.data, name, address)
    assert _parameters(name) == imported and ENCODERS.address(name) == address  # nothing was imported for it


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Base", {"width": True, "depth": True, "height": False}),
        ("Inherited", {"width": True, "depth": True, "height": False}),
        ("Positional", {"width": True, "depth": False}),
        ("Any", {"width": True, "others": True}),
    ],
)
def test_arguments_are_those_of_the_constructor_however_it_is_written(
    name: str, known: dict[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "another_encoder.py").write_text(
        "class Base:\n    def __init__(self, width, *, depth, height=3): ...\n\n"
        "class Inherited(Base):\n    ...\n\n"
        "class Positional:\n    def __init__(self, width, /, depth=2): ...\n\n"
        "class Any:\n    def __init__(self, width, **others): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ENCODERS.data, "another", f"another_encoder:{name}")
    assert _parameters("another") == known
    needed = ", ".join(key for key in known if known[key])
    with pytest.raises(InputError, match=f"argument {needed} of the encoder another, but it is missing"):
        check_arguments("another", {})
    with pytest.raises(InputError, match=f"another among {', '.join(sorted(known))}, but got size"):
        check_arguments("another", {**dict.fromkeys(known, 1), "size": 2})
    check_arguments("another", dict.fromkeys(known, 1))


def test_a_name_that_timm_does_not_have_is_refused():
    check_arguments("timm", {"name": "resnet18.a1_in1k", "size": None})
    with pytest.raises(InputError, match="the name of a timm model, such as resnet18, .*, but got 'resnet_18'; correct it"):
        check_arguments("timm", {"name": "resnet_18"})


def refused(params, message: str, call) -> None:
    """Check that a call is refused, and that no checkpoints were made for it."""
    with pytest.raises(InputError, match=message):
        call(params)
    assert not Path(params.pretrain.out).exists()


def finetune(params) -> None:
    study.finetune(params, study.study_cells(params, {}))


@pytest.mark.parametrize(("changed", "message"), [*RECIPES, (SMALL, SIZE), ({"finetune.accelerator": "gpu"}, DEVICE), SWIN])
@pytest.mark.parametrize("call", [finetune, study.study])
def test_a_recipe_that_does_not_fit_the_target_or_the_machine(call, changed, message, workplace: Path, tiny_params):
    refused(tiny_params(changed), message, call)


def test_nothing_is_made_for_a_loss_of_no_task(workplace: Path, tiny_params):
    refused(tiny_params({"finetune.loss": "nowhere"}), LOSS, finetune)
    refused(tiny_params({"finetune.loss": "nowhere"}), LOSS, grid.run)
    assert not Path("data").exists()


@pytest.mark.parametrize("call", [finetune, study.score])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (UNKNOWN, "but got depht; correct the name, in pretrain.encoders.unet"),
        (
            dict.fromkeys(("finetune.origin", "score.origin"), "continued") | {"study.origins": ["continued"]},
            "expected a checkpoint that the origin continued continues from, but got none; name one as pretrain.from",
        ),
    ],
)
def test_nothing_is_made_for_a_pretraining_that_cannot_begin(call, changed, message, workplace: Path, tiny_params):
    refused(tiny_params(changed), message, call)
    assert not Path("data").exists()


@pytest.mark.parametrize(("changed", "message"), [SWIN, UNBUILT])
def test_nothing_is_made_for_models_that_cannot_be_built(changed, message, workplace: Path, tiny_params):
    refused(tiny_params(changed), message, finetune)
    assert not Path("data").exists()


def test_a_parent_that_nobody_makes_is_named_before_samples_are_made(workplace: Path, tiny_params):
    params = tiny_params({"study.origins": ["continued"], "pretrain.from": "simple@1"})
    refused(params, "expected a finished pretraining in .*unet-simple to continue from", finetune)
    assert not Path("data").exists()


def test_a_parent_that_the_same_command_makes_may_be_named_by_its_folder(workplace: Path, tiny_params):
    params = tiny_params({**SHORT, "pretrain.from": "checkpoints/unet-simple", "pretrain.out": "checkpoints"})
    cell = replace(study.planned_cells(params)[0], epoch=1)
    study.finetune(params, [cell, replace(cell, origin="continued")])
    assert Path("checkpoints/unet-continued/epoch-001.json").exists()


def test_a_mode_that_starts_from_a_decoder_that_is_not_trained(workplace: Path, tiny_params):
    params = tiny_params({"study.origins": ["simclr"]})
    cell = replace(study.planned_cells(params)[0], epoch=1, mode="seg-enc-dec")
    message = "a checkpoint with a decoder, but one of the origin simclr holds encoder, projection alone; take one of an origin"
    refused(params, message, lambda params: study.finetune(params, [cell]))
    assert not Path("data").exists()


def test_an_epoch_that_a_pretraining_continued_from_the_command_line_lacks(workplace: Path, tiny_params):
    study.pretrain(tiny_params(SHORT))
    study.pretrain(tiny_params({**SHORT, "pretrain.origin": "continued", "pretrain.from": "simple"}))
    params = tiny_params({"pretrain.epochs": 2, "pretrain.checkpoints": [1, 2]})  # which say nothing of the start
    cell = study.planned_cells(params)[0]
    with pytest.raises(InputError, match="of epoch 2 in .*unet-continued, but it holds the epochs 0, 1; name one of them"):
        study.finetune(params, [replace(cell, origin="continued", epoch=2)])


@pytest.mark.parametrize("call", [finetune, study.study, grid.run, forecast])
def test_images_without_masks_are_not_fine_tuned_on(call, workplace: Path, tiny_params):
    Path("images").mkdir()
    for number in range(4):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32), np.uint8)).save(f"images/{number}.png")
    target = {
        "reader": "folder", "root": ".", "size": [32, 32], "subset": False, "split": "none", "validation": 0.0,
        "allow_duplicates": False, "options": {"images": "images", "masks": None},
    }  # fmt: skip
    params = tiny_params({"prepare.targets.sample": target})
    study.prepare(params)
    refused(params, "but prepare.targets.sample says `masks: null`; name the folder of masks there, or score the target only", call)


@pytest.mark.parametrize("call", [study.score, study.study])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"score.indicators": ["leep"]}, LABELS), (SMALL, SIZE), ({"score.accelerator": "gpu"}, DEVICE),
        ({"score.split": "validation"}, "expected samples of the split 'validation'"),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_scored(call, changed, message, workplace: Path, tiny_params, monkeypatch):
    if "score.indicators" in changed:
        monkeypatch.setattr("medtransfer.indicators.requirements.fits", lambda indicator, target: False)
    refused(tiny_params(changed), message, call)


def test_a_pretraining_that_stops_on_images_that_its_encoder_does_not_take(workplace: Path, tiny_params):
    refused(tiny_params({**SMALL, "pretrain.stop_on": "sample"}), SIZE, study.pretrain)


@pytest.mark.parametrize("changed", [UNKNOWN, {"pretrain.encoders.unet.width": 0}, {"pretrain.size": 65}])
def test_checkpoints_are_not_moved_aside_for_what_cannot_be_trained(changed, workplace: Path, tiny_params):
    params = tiny_params(SHORT)
    study.pretrain(params)
    files = sorted(Path(params.pretrain.out).rglob("*"))
    with pytest.raises(InputError):
        study.pretrain(tiny_params({**SHORT, **changed}))
    assert sorted(Path(params.pretrain.out).rglob("*")) == files


@pytest.mark.parametrize("call", [study.pretrain, study.study, grid.run, forecast])
def test_an_argument_that_the_encoder_does_not_take(call, workplace: Path, tiny_params):
    refused(
        tiny_params(UNKNOWN),
        "expected arguments of the encoder unet among .*, but got depht; correct the name, in pretrain.encoders.unet",
        call,
    )
    assert not Path("data").exists()


@pytest.mark.parametrize(("changed", "message"), [*RECIPES, ({"finetune.accelerator": "gpu"}, DEVICE)])
def test_a_grid_that_can_do_no_fine_tuning(changed, message, workplace: Path, tiny_params):
    study.prepare(tiny_params())
    refused(tiny_params({**changed, "grid.workers": 2}), message, grid.run)
    assert not Path("grid").exists()
    if message != DEVICE:  # a plan may be for another machine
        refused(tiny_params(changed), message, forecast)


@pytest.mark.parametrize("call", [grid.run, forecast])
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize(("changed", "message"), [SWIN, UNBUILT])
def test_a_grid_whose_models_cannot_be_built(call, prepared, changed, message, workplace: Path, tiny_params):
    """Before hours of pretraining, and before its targets are prepared."""
    if prepared:
        study.prepare(tiny_params())
    files = sorted(Path().rglob("*"))
    refused(tiny_params({**changed, "grid.workers": 2}), message, call)
    assert sorted(Path().rglob("*")) == files


@pytest.mark.parametrize("call", [grid.run, forecast])
def test_a_grid_whose_encoder_does_not_take_the_images(call, workplace: Path, tiny_params):
    """Before it is trained."""
    params = tiny_params({**SMALL, "grid.workers": 2})
    study.prepare(params)
    refused(params, SIZE, call)


def test_a_grid_prepares_a_target_again_that_would_not_fit(workplace: Path, tiny_params):
    """What lies there is of another size, or of another version: the params count."""
    study.prepare(tiny_params(SMALL))
    text = forecast(tiny_params())
    Path("data/prepared/sample/dataset.json").write_text("{}", encoding="utf-8")
    assert forecast(tiny_params()) == text


@pytest.mark.parametrize("call", [grid.run, forecast])
def test_a_grid_each_mode_of_which_is_refused_for_a_reason_of_its_own(call, workplace: Path, tiny_params):
    study.prepare(tiny_params())
    refused(tiny_params({**SWIN[0], "study.modes": ["full", "linear"], "grid.workers": 2}), SWIN[1], call)


def test_an_encoder_that_needs_numbers_is_built_where_it_is_trained_alone(workplace: Path, tiny_params, monkeypatch):
    class Asking(UNetEncoder):
        def __init__(self, width: int = 64, depth: int = 5) -> None:
            super().__init__(width, depth)
            torch.ones(1).item()

    monkeypatch.setitem(ENCODERS.data, "unet", Asking)
    assert "finetune" in forecast(tiny_params())


def test_a_grid_of_finished_checkpoints_whose_decoder_does_not_fit(workplace: Path, tiny_params, monkeypatch):
    study.pretrain(tiny_params({**SHORT, "pretrain.origin": "simple"}))
    study.prepare(tiny_params())
    params = tiny_params({**SHORT, **SWIN[0], "grid.workers": 2})
    for call in (grid.run, forecast):
        with pytest.raises(InputError, match=SWIN[1]):
            call(params)
    assert not Path("grid").exists()
    monkeypatch.setitem(ENCODERS.data, "unet", Renamed)  # an encoder of an earlier version is said where it is used
    forecast(params)


def test_a_grid_warns_of_one_encoder_that_cannot_be_built(workplace: Path, tiny_params, caplog: pytest.LogCaptureFixture):
    params = tiny_params({**UNBUILT[0], "study.encoders": ["unet", "resnet50"]})
    with caplog.at_level(logging.WARNING):
        forecast(params)
    said = [message for message in caplog.messages if message.startswith("grid: no fine-tuning of unet on sample in the mode")]
    assert len(said) == len(params.study.modes) and UNBUILT[1] in said[0] and "resnet50" not in caplog.text


def test_a_grid_knows_the_sizes_that_checkpoints_take(workplace: Path, tiny_params):
    params = tiny_params({**SHORT, **SMALL, "grid.workers": 2})
    study.pretrain(params)
    study.prepare(params)
    for call in (grid.run, forecast):
        with pytest.raises(InputError, match=SIZE):
            call(params)
    assert not Path("grid").exists()


@pytest.mark.parametrize("call", [study.study, grid.run, forecast])
def test_epochs_that_no_origin_saves(call, workplace: Path, tiny_params):
    """Each origin has those of the list that it saves, but one of none is a mistake."""
    params = tiny_params({"study.epochs": [0, 2, 50], "study.origins": ["simple", "advanced"]})
    refused(params, r"expected study.epochs among those that its origins save \(0, 1, 2, 3\), but got 50; correct them", call)


def test_a_plan_of_many_targets_builds_each_encoder_once(workplace: Path, tiny_params, monkeypatch: pytest.MonkeyPatch):
    """That of 1,000 targets took ten seconds, since each was built for every target and mode."""
    built, build_encoder = list[str](), build.build_encoder
    monkeypatch.setattr(build, "build_encoder", lambda name, **arguments: built.append(name) or build_encoder(name, **arguments))
    sample = tiny_params().prepare.targets["sample"].model_dump(mode="json")
    targets = {f"target-{number}": sample for number in range(3)}
    forecast(tiny_params({**SHORT, "prepare.targets": targets, "study.targets": list(targets)}))
    assert built == ["unet"]


def test_labels_of_images_take_no_decoder_of_masks():
    require_head(None)
    require_head("fused")
    with pytest.raises(InputError, match="finetune.decoder null for labels of images, .*, but got 'unet', which predicts masks"):
        require_head("unet")


def test_a_grid_warns_of_fine_tunings_that_cannot_be_done_and_does_the_others(
    workplace: Path, tiny_params, caplog: pytest.LogCaptureFixture
):
    """Both where the target is prepared before, and as soon as it is prepared."""
    params = tiny_params({**SHORT, "grid.workers": 1, "study.modes": ["full", "linear"], "study.seeds": [7]})
    said = "no fine-tuning of unet on sample in the mode linear can be done: expected a target with labels of images"
    for _ in range(2):  # the second time, no other is left
        caplog.clear()
        with caplog.at_level(logging.WARNING), pytest.raises(StageError, match="2 jobs failed; the first, finetune .* linear"):
            grid.run(params)
        assert sum(said in record.message for record in caplog.records) == 1
        assert len(list(Path("models").glob("*/*/*full*/metrics.json"))) == 2


@pytest.mark.parametrize(("changed", "message"), [(WRONG, WEIGHTS), ({"finetune.accelerator": "gpu"}, DEVICE), (SMALL, SIZE), SWIN])
def test_no_worker_is_started_for_fine_tunings_that_would_all_fail(
    changed, message, workplace: Path, tiny_params, monkeypatch
):  # fmt: skip
    monkeypatch.setattr("medtransfer.tryouts.training.start_workers", lambda *_: pytest.fail("workers were started"))
    params = tiny_params({**changed, **SHORT, "guard.workers": 2, "guard.validation": 0.67})
    study.prepare(params)
    study.pretrain(params)
    with pytest.raises(InputError, match=message):
        guard.run(params)


class Renamed(UNetEncoder):
    """An encoder whose argument has another name than in an earlier version."""

    def __init__(self, channels: int = 64, depth: int = 5, in_channels: int = 3) -> None:
        """Build it."""
        super().__init__(channels, depth, in_channels)


def test_finished_checkpoints_are_used_whatever_their_encoder_takes_today(workplace: Path, tiny_params, monkeypatch):
    """They say themselves which sizes it takes; some encoders, such as a fusion, cannot be built from the params alone."""
    params = tiny_params({**SHORT, "study.modes": ["full"], "study.seeds": [7]})
    study.study(params)
    monkeypatch.setitem(ENCODERS.data, "unet", Renamed)
    study.pretrain(params)
    study.study(params)
    assert "reused" in grid.describe_reuse(grid.plan(params), grid.find_reused(params, grid.plan(params)))
    for path in Path("checkpoints/unet-simple").glob("*.json"):
        if path.name.startswith("epoch"):
            replace(CheckpointInfo.read(path), multiple=64).write(path)
    other = {"study.origins": ["simple", "advanced"]}
    with pytest.raises(InputError, match="multiples of 64 pixels"):
        study.checks.check_sizes(params, [(("unet", "simple"), "sample")])
    monkeypatch.setitem(ENCODERS.data, "unet", UNetEncoder)
    study.checks.check_sizes(tiny_params(other), [(("unet", "advanced"), "sample")])  # to be trained, so that it is built


def test_records_of_another_architecture_or_broken_ones_say_nothing_about_sizes(workplace: Path, tiny_params):
    study.prepare(tiny_params(SMALL))
    study.pretrain(tiny_params(SHORT))
    pair = (("unet", "simple"), "sample")
    with pytest.raises(InputError, match=SIZE):
        study.checks.check_sizes(tiny_params(SMALL), [pair])
    study.checks.check_sizes(tiny_params({**SMALL, "pretrain.encoders.unet.depth": 3}), [pair])
    for path in Path("checkpoints/unet-simple").glob("epoch-*.json"):
        path.write_text("{", encoding="utf-8")
    study.checks.check_sizes(tiny_params({**SMALL, "pretrain.encoders.unet.depth": 3}), [pair])


def test_the_record_of_an_encoder_that_the_params_do_not_name_says_its_sizes(workplace: Path, tiny_params):
    """A race takes checkpoints by their folder: those of encoders of another file of params, too."""
    study.prepare(tiny_params())
    study.pretrain(tiny_params(SHORT))
    Path("checkpoints/unet-simple").rename("checkpoints/other-simple")
    cell = CellName("sample", "other", "simple", 1, "full", 7)
    study.check_recorded_sizes(tiny_params(), [cell])
    study.prepare(tiny_params(SMALL))
    with pytest.raises(InputError, match=SIZE.replace("unet", "other")):
        study.check_recorded_sizes(tiny_params(SMALL), [cell])


def test_an_encoder_that_its_import_completes_is_not_built(workplace: Path, tiny_params):
    origin = {"kind": "file", "weights": {90: "a"}, "epoch": None, "source": "imagenet", "pickle": False,
              "allow_partial": False, "prefix": None, "input": None}  # fmt: skip
    params = tiny_params({"pretrain.encoders.both": {"build": "fused", "projection": 8}, "pretrain.origins.imported": origin})
    study.prepare(params)
    study.checks.check_sizes(params, [(("both", "imported"), "sample")])


@pytest.mark.parametrize("name", TINIEST)
def test_every_encoder_can_be_asked_for_its_multiple_without_memory(name: str, workplace: Path, tiny_params):
    with torch.device("meta"):
        expected = ENCODERS[name](**TINIEST[name]).multiple
    params = tiny_params({"pretrain.encoders.asked": {"build": name, **TINIEST[name]}})
    assert study.checks._build(params, "asked", "simple").multiple == expected
