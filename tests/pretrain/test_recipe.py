"""The recipe of the params: learning-rate scaling, accumulation, identity, and what is refused."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from medtransfer.config import Params, Pretrain, SupervisedOrigin, merge, parse_yaml
from medtransfer.errors import InputError
from medtransfer.pretrain.recipe import Recipe, recipe_of
from medtransfer.pretrain.trainer import check_batches

BATCH = "pretrain.origins.simple.batch_size.unet"


@pytest.fixture
def recipe(tiny_params: Callable[..., Params]) -> Callable[..., Recipe]:
    """Return a maker of recipes: `recipe({"pretrain.lr": 0.1})`."""
    return lambda overrides=None: recipe_of(tiny_params(overrides).pretrain)


def test_the_rate_grows_linearly_with_the_batch(recipe):
    published = {"pretrain.lr": 0.001, "pretrain.lr_batch": 1024, "pretrain.micro_batch": 128}
    assert recipe({**published, BATCH: 4096}).lr == pytest.approx(0.004)  # Table A.1
    assert recipe({**published, BATCH: 1024}).lr == pytest.approx(0.001)
    assert recipe({**published, BATCH: 256}).lr == pytest.approx(0.00025)


@pytest.mark.parametrize(
    ("batch", "micro", "devices", "passes"),
    [(64, 16, 1, 4), (64, 16, 2, 2), (4096, 128, 8, 4), (16, 16, 1, 1), (8, 100, 2, 1)],  # the last micro-batch is cut to 4
)
def test_accumulation_makes_up_the_nominal_batch(recipe, batch, micro, devices, passes):
    found = recipe({BATCH: batch, "pretrain.micro_batch": micro, "pretrain.devices": devices})
    assert found.accumulation == passes
    assert found.accumulation * found.micro_batch * found.devices == batch


@pytest.mark.parametrize(("batch", "micro", "devices"), [(10, 4, 1), (9, 4, 2), (1, 4, 2), (48, 16, 2)])
def test_a_batch_that_does_not_divide_is_refused(recipe, batch, micro, devices):
    with pytest.raises(InputError, match=rf"got {batch} and {micro} x {devices}"):
        recipe({BATCH: batch, "pretrain.micro_batch": micro, "pretrain.devices": devices})


def test_the_random_initialisation_and_the_last_epoch_are_always_saved(recipe):
    assert recipe({"pretrain.epochs": 9, "pretrain.checkpoints": [5, 1, 5]}).checkpoints == (0, 1, 5, 9)


@pytest.mark.parametrize("kind", ["warmup", "batch_size"])
def test_one_number_and_a_default_stand_for_every_encoder(tiny_params, kind):
    section = tiny_params().pretrain

    def value_of(values):
        entry = section.origins["simple"].model_dump() | {kind: values}
        origin = SupervisedOrigin.model_validate(entry)
        return getattr(recipe_of(section.model_copy(update={"origins": {"simple": origin}})), kind)

    assert value_of(48) == value_of({"default": 48}) == value_of({"swin": 16, "default": 48}) == 48
    assert value_of({"unet": 16, "default": 48}) == 16
    with pytest.raises(InputError, match=rf"simple\.{kind} to have a value for 'unet', but it has swin"):
        value_of({"swin": 16})


def test_an_origin_may_have_a_seed_of_its_own(recipe):
    own = recipe({"pretrain.origins.simple.seed": 6})
    assert (own.seed, recipe().seed) == (6, 5)
    assert own.digest("source") == recipe({"pretrain.seed": 6}).digest("source") != recipe().digest("source")


@pytest.mark.parametrize("origin", ["simclr", "reconstruction", "conrec"])
def test_the_preset_of_dippel_et_al(tiny_params, origin):
    """LARS at .075 times the root of the batch, constant; decay 1e-4, but of norms and biases; pixels as they are."""
    values = parse_yaml((Path(__file__).parents[2] / "configs/dippel.yaml").read_text())["pretrain"]
    found = recipe_of(Pretrain.model_validate(merge(tiny_params().pretrain.model_dump(), {**values, "origin": origin})))
    assert found.lr == pytest.approx(0.075 * 16**0.5) and (found.batch_size, found.accumulation, found.warmup) == (16, 1, 0)
    assert (found.optimiser, found.schedule, found.betas[0]) == ("lars", "constant", 0.9)
    assert (found.weight_decay, found.decay_norms, found.epochs, found.size) == (1e-4, False, 2700, 64)
    assert found.input == {"size": 64, "mean": [0, 0, 0], "std": [1, 1, 1], "channels": "RGB"}
    assert (found.build, found.label_smoothing, found.options["kind"]) == ("dippel-unet", 0, origin)


def test_the_rate_of_a_pretext_task_is_scaled_unless_it_has_its_own(recipe):
    plain = {"pretrain.origin": "simclr", "pretrain.origins.simclr.batch_size": 64}
    assert recipe(plain).lr == pytest.approx(0.002 * 64 / 16)
    assert recipe({**plain, "pretrain.origins.simclr.lr": 0.3}).lr == 0.3
    assert recipe(plain).options == {"kind": "simclr", "temperature": 0.5, "smallest_crop": 0.08}


def test_whatever_changes_the_bits_changes_the_identity(recipe):
    changed = {
        "pretrain.lr": 0.5, "pretrain.seed": 6, "pretrain.epochs": 7, "pretrain.label_smoothing": 0.0, "pretrain.weight_decay": 0.0,
        "pretrain.size": 48, "pretrain.micro_batch": 8, "pretrain.encoders.unet.width": 8, "pretrain.origins.simple.mixup": 0.5,
        "pretrain.origins.simple.warmup.unet": 0, "pretrain.precision": "bf16-mixed", "pretrain.decay_norms": False,
        "pretrain.clip_grad": 1.0, "pretrain.ema_decay": 0.99, "pretrain.tf32": True, "pretrain.reproducible": False,
        "pretrain.resampling": "torch",
        "pretrain.origins.simple.randaugment": {"ops": 2, "magnitude": 9, "scale": 30},
    }  # fmt: skip
    plain = recipe().digest("source")
    others = [recipe({key: value}).digest("source") for key, value in changed.items()] + [recipe().digest("other pictures")]
    assert len({plain, *others}) == 1 + len(others)
    for key, value in (("pretrain.checkpoints", [1]), ("pretrain.workers", 3), ("pretrain.stop_on", "sample")):
        assert recipe({key: value}).digest("source") == plain


def test_options_of_a_pretext_task_change_its_identity(recipe):
    plain = {"pretrain.origin": "conrec"}
    changed = {
        "temperature": 0.1, "heads": ["plain"], "weight": 1.0, "decoder": "attention", "smallest_crop": 0.2, "optimiser": "lars",
        "schedule": "constant", "lr": 0.3, "normalise": False,
    }  # fmt: skip
    digests = [recipe({**plain, f"pretrain.origins.conrec.{key}": value}).digest("source") for key, value in changed.items()]
    assert len({recipe(plain).digest("source"), *digests}) == 1 + len(changed)
    assert recipe({**plain, "pretrain.label_smoothing": 0.3}).digest("source") == recipe(plain).digest("source")


@pytest.mark.parametrize("randaugment", [None, {"ops": 2, "magnitude": 9, "scale": 30}, {"ops": 2, "magnitude": 9, "scale": 10}])
def test_options_that_change_nothing_leave_the_identity_of_finished_pretrainings(recipe, randaugment):
    """What was hashed before there were these options, written out."""
    found = replace(recipe(), randaugment=randaugment)
    added = {"decay_norms", "clip_grad", "ema_decay", "tf32", "reproducible", "optimiser", "schedule", "options", "resampling"}
    fields = {name: value for name, value in asdict(found).items() if name not in added | {"checkpoints"}}
    was = {**fields, "randaugment": randaugment is not None, "source": "source"}
    text = json.dumps(was, sort_keys=True, separators=(",", ":"))
    same = found.digest("source") == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert same == (randaugment is None or randaugment["scale"] == 30)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, r"say how much: \{ops: 2, magnitude: 9, scale: 30\}"),
        ({"ops": 2, "magnitude": 11, "scale": 10}, "magnitude must not exceed the scale, 10"),
        ({"ops": 2, "magnitude": 9}, r"simple\.randaugment\.scale: is missing"),
    ],
)
def test_randaugment_says_how_much(tiny_params, value, words):
    with pytest.raises(InputError, match=words):
        tiny_params({"pretrain.origins.simple.randaugment": value})


@pytest.mark.parametrize(
    ("changed", "images", "words"),
    [
        ({"pretrain.micro_batch": 1}, 50, r"pretrain.micro_batch 1, pretrain.devices 1\); raise"),
        ({"pretrain.devices": 2, "pretrain.micro_batch": 8}, 3, "but got 1 of 3"),
        ({"pretrain.devices": 2, "pretrain.micro_batch": 8}, 1, "a training image for each device, but got 1"),
        ({"pretrain.devices": 2, "pretrain.micro_batch": 8}, 4, None),
        ({"pretrain.micro_batch": 1, "pretrain.size": 64}, 50, None),  # the deepest map is 2x2
    ],
)
def test_a_batch_of_one_image_is_refused_where_it_cannot_be_trained_on(recipe, changed, images, words):
    found = recipe({"pretrain.encoders.unet.depth": 6, **changed})
    if words is None:
        check_batches(found, images)
        return
    with pytest.raises(InputError, match=words):
        check_batches(found, images)
