"""What is refused before checkpoints are made for it, since they take far longer than the targets."""

from pathlib import Path

import pytest

from medtransfer import environment, study
from medtransfer.encoders import ENCODERS
from medtransfer.encoders.arguments import _parameters, check_arguments, parameters_of
from medtransfer.errors import InputError
from medtransfer.grid import stage as grid
from medtransfer.grid.forecast import forecast
from medtransfer.grid.jobs import plan
from medtransfer.guard import stage as guard

LOSS = "expected finetune.loss to be one of .*dice.*, or null, but got 'nowhere'"
WEIGHTS = "expected 4 finetune.class_weights for .*sample, .*but got"
SIZE = r"multiples of \d+ pixels for the encoder unet, but got 60x60 in .*sample"
LABELS = "expected masks.npy among the arrays in .*, which leep needs"
DEVICE = "expected accelerator 'gpu' on this machine, but it has no driver"
ON_GPU = {"finetune.accelerator": "gpu"}
SMALL = {"prepare.targets.sample.size": [60, 60]}
UNKNOWN = {"pretrain.encoders.unet.depht": 3}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_source_of_an_encoder_names_its_arguments(name: str, monkeypatch: pytest.MonkeyPatch):
    address = f"{ENCODERS[name].__module__}:{ENCODERS[name].__name__}"
    imported = parameters_of(ENCODERS[name])
    monkeypatch.setitem(ENCODERS.data, name, address)
    assert _parameters(name) == imported and ENCODERS.address(name) == address  # nothing was imported for it


def test_an_encoder_without_a_constructor_of_its_own_is_asked_for_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "another_encoder.py").write_text(
        "class Base:\n    def __init__(self, width, *, depth, height=3): ...\n\nclass Another(Base):\n    ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Base", "Another"):
        monkeypatch.setitem(ENCODERS.data, "another", f"another_encoder:{name}")
        assert _parameters("another") == {"width": True, "depth": True, "height": False}
        with pytest.raises(InputError, match="argument depth of the encoder another, but it is missing"):
            check_arguments("another", {"width": 3})
        with pytest.raises(InputError, match="another among depth, height, width, but got size"):
            check_arguments("another", {"width": 3, "depth": 1, "size": 2})
        check_arguments("another", {"width": 3, "depth": 1})


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"finetune.loss": "nowhere"}, LOSS), ({"finetune.class_weights": [1, 2]}, WEIGHTS), (SMALL, SIZE)],
)
@pytest.mark.parametrize("call", [finetune, study.study])
def test_a_recipe_that_does_not_fit_the_target(call, changed, message, workplace: Path, tiny_params):
    refused(tiny_params(changed), message, call)


@pytest.mark.parametrize("call", [study.score, study.study])
@pytest.mark.parametrize(("changed", "message"), [({"score.indicators": ["leep"]}, LABELS), (SMALL, SIZE)])
def test_a_target_that_cannot_be_scored(call, changed, message, workplace: Path, tiny_params, monkeypatch):
    if "score.indicators" in changed:
        monkeypatch.setattr("medtransfer.indicators.requirements.fits", lambda indicator, target: False)
    refused(tiny_params(changed), message, call)


def test_a_pretraining_that_stops_on_images_that_its_encoder_does_not_take(workplace: Path, tiny_params):
    refused(tiny_params({**SMALL, "pretrain.stop_on": "sample"}), SIZE, study.pretrain)


@pytest.mark.parametrize("call", [study.pretrain, study.study, grid.run, forecast])
def test_an_argument_that_the_encoder_does_not_take(call, workplace: Path, tiny_params):
    refused(tiny_params(UNKNOWN), "expected arguments of the encoder unet among .*, but got depht", call)
    assert not Path("data").exists()


@pytest.mark.parametrize(("changed", "message"), [({"finetune.class_weights": [1, 2]}, WEIGHTS), (ON_GPU, DEVICE)])
def test_a_grid_refuses_what_does_not_fit_a_prepared_target_or_the_machine(
    changed, message, workplace: Path, tiny_params, monkeypatch
):  # fmt: skip
    monkeypatch.setattr(environment, "has_driver", lambda: False)
    study.prepare(tiny_params())
    refused(tiny_params({**changed, "grid.workers": 2}), message, grid.run)
    assert not Path("grid").exists()
    if message == WEIGHTS:  # a plan may be for another machine
        refused(tiny_params(changed), message, forecast)


@pytest.mark.parametrize(("changed", "message"), [({"finetune.class_weights": [1, 2]}, WEIGHTS), (ON_GPU, DEVICE)])
def test_no_worker_is_started_for_fine_tunings_that_would_all_fail(
    changed, message, workplace: Path, tiny_params, monkeypatch
):  # fmt: skip
    monkeypatch.setattr(environment, "has_driver", lambda: False)
    monkeypatch.setattr("medtransfer.tryouts.training.start_workers", lambda *_: pytest.fail("workers were started"))
    params = tiny_params(
        {**changed, "guard.workers": 2, "guard.validation": 0.67, "pretrain.epochs": 1, "pretrain.checkpoints": [1]}
    )
    study.prepare(params)
    study.pretrain(params)
    with pytest.raises(InputError, match=message):
        guard.run(params)


@pytest.mark.parametrize(("changed", "message"), [({"finetune.class_weights": [1, 2]}, WEIGHTS), (SMALL, SIZE)])
def test_a_job_refuses_a_target_once_it_is_prepared(changed, message, workplace: Path, tiny_params):
    params = tiny_params(changed)
    refused(params, message, plan(params)[0].run)
    assert (Path(params.prepare.out) / "sample" / "dataset.json").exists()
