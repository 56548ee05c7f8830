"""The recipe of the params: learning-rate scaling, accumulation, identity, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from medtransfer.config import Params, SupervisedOrigin
from medtransfer.errors import InputError
from medtransfer.pretrain.recipe import Recipe, recipe_of

BATCH = "pretrain.origins.simple.batch_size.unet"


@pytest.fixture
def recipe(tiny_params: Callable[..., Params]) -> Callable[..., Recipe]:
    """Return a maker of recipes: `recipe({"pretrain.lr": 0.1})`."""
    return lambda overrides=None: recipe_of(tiny_params(overrides).pretrain)


def test_the_rate_grows_linearly_with_the_batch(recipe: Callable[..., Recipe]):
    published = {"pretrain.lr": 0.001, "pretrain.lr_batch": 1024, "pretrain.micro_batch": 128}
    assert recipe({**published, BATCH: 4096}).lr == pytest.approx(0.004)  # Table A.1
    assert recipe({**published, BATCH: 1024}).lr == pytest.approx(0.001)
    assert recipe({**published, BATCH: 256}).lr == pytest.approx(0.00025)


@pytest.mark.parametrize(
    ("batch", "micro", "devices", "passes"), [(64, 16, 1, 4), (64, 16, 2, 2), (4096, 128, 8, 4), (16, 16, 1, 1)]
)
def test_accumulation_makes_up_the_nominal_batch(recipe: Callable[..., Recipe], batch: int, micro: int, devices: int, passes: int):
    found = recipe({BATCH: batch, "pretrain.micro_batch": micro, "pretrain.devices": devices})
    assert found.accumulation == passes
    assert found.accumulation * found.micro_batch * found.devices == batch


def test_a_micro_batch_is_never_larger_than_the_batch(recipe: Callable[..., Recipe]):
    found = recipe({BATCH: 8, "pretrain.micro_batch": 100, "pretrain.devices": 2})
    assert (found.micro_batch, found.accumulation) == (4, 1)


@pytest.mark.parametrize(("batch", "micro", "devices"), [(10, 4, 1), (9, 4, 2), (1, 4, 2), (48, 16, 2)])
def test_a_batch_that_does_not_divide_is_refused(recipe: Callable[..., Recipe], batch: int, micro: int, devices: int):
    with pytest.raises(InputError, match=rf"got {batch} and {micro} x {devices}"):
        recipe({BATCH: batch, "pretrain.micro_batch": micro, "pretrain.devices": devices})


def test_the_random_initialisation_and_the_last_epoch_are_always_saved(recipe: Callable[..., Recipe]):
    assert recipe({"pretrain.epochs": 9, "pretrain.checkpoints": [5, 1, 5]}).checkpoints == (0, 1, 5, 9)


@pytest.mark.parametrize("kind", ["warmup", "batch_size"])
def test_one_number_and_a_default_stand_for_every_encoder(tiny_params: Callable[..., Params], kind: str):
    section = tiny_params().pretrain
    for values, expected in ((48, 48), ({"default": 48}, 48), ({"unet": 16, "default": 48}, 16), ({"swin": 16, "default": 48}, 48)):
        entry = section.origins["simple"].model_dump() | {kind: values}
        origin = SupervisedOrigin.model_validate(entry)
        assert getattr(recipe_of(section.model_copy(update={"origins": {"simple": origin}})), kind) == expected


@pytest.mark.parametrize("kind", ["warmup", "batch_size"])
def test_an_origin_without_a_value_for_the_encoder_is_refused(tiny_params: Callable[..., Params], kind: str):
    section = tiny_params().pretrain
    origin = section.origins["simple"].model_copy(update={kind: {"swin": 1}})
    with pytest.raises(InputError, match=rf"simple\.{kind} to have a value for 'unet', but it has swin"):
        recipe_of(section.model_copy(update={"origins": {"simple": origin}}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pretrain.lr", 0.5), ("pretrain.seed", 6), ("pretrain.epochs", 7), ("pretrain.label_smoothing", 0.0),
        ("pretrain.weight_decay", 0.0), ("pretrain.size", 48), ("pretrain.micro_batch", 8), ("pretrain.encoders.unet.width", 8),
        ("pretrain.origins.simple.mixup", 0.5), ("pretrain.origins.simple.warmup.unet", 0), ("pretrain.precision", "bf16-mixed"),
    ],
)  # fmt: skip
def test_whatever_changes_the_bits_changes_the_identity(recipe: Callable[..., Recipe], key: str, value: Any):
    assert recipe({key: value}).digest("source") != recipe().digest("source")


@pytest.mark.parametrize(("key", "value"), [("pretrain.checkpoints", [1]), ("pretrain.workers", 3), ("pretrain.stop_on", "sample")])
def test_what_does_not_change_the_bits_leaves_the_identity(recipe: Callable[..., Recipe], key: str, value: Any):
    assert recipe({key: value}).digest("source") == recipe().digest("source")


def test_other_pictures_are_another_pretraining(recipe: Callable[..., Recipe]):
    assert recipe().digest("a") != recipe().digest("b")


def test_the_input_contract_is_what_checkpoints_carry(recipe: Callable[..., Recipe]):
    found = recipe({"pretrain.size": 48}).input
    assert found == {"size": 48, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "channels": "RGB"}
