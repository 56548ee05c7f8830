"""A loss or weights that go bad stop a fine-tuning at that step; the state saved before is resumed."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import Tensor, nn, rand
from torch.nn.functional import dropout

from medtransfer.data.target_samples import TargetSamples
from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.freezing import freeze, state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError, StageError
from medtransfer.finetune import trainer
from medtransfer.finetune.protocol import ADDED, Protocol
from medtransfer.finetune.trainer import Trainer
from medtransfer.records import INDEX_COLUMNS, PreparedTarget, TargetInfo
from medtransfer.records.state import read_progress
from medtransfer.tasks import TASKS
from medtransfer.training import parts
from medtransfer.training.device import open_fabric
from medtransfer.training.parts import PartialEpoch
from medtransfer.training.steps import Steps

IMAGES, BATCH, EPOCHS = 10, 4, 4  # so 3 steps an epoch
RECIPE = {
    "decoder": None, "train_epochs": EPOCHS, "epoch_steps": None, "batch_size": BATCH, "lr": 0.05, "power": 0.9, "momentum": 0.9,
    "weight_decay": 1e-4, "select": "last", "precision": "32-true", "compile": False,
}  # fmt: skip


@pytest.fixture
def target(tmp_path: Path) -> PreparedTarget:
    """Return ten grey images of 32 pixels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 32, 32, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "masks.npy", (images[..., 0] > 127).astype(np.uint8))
    lines = [(i, i, "train", f"p{i}", f"f{i}", 0, 0, 0, 32, 32) for i in range(IMAGES)]
    pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(tmp_path / "index.csv", index=False)
    TargetInfo(
        target="made", reader="made", task="segmentation", citation="none", classes=["one"], channels=1,
        input=[32, 32], augmentation="rotate-flip",
        scaling="none", counts={"train": IMAGES}, expected={}, subset=False, sources={}, arrays={}, settings={},
    ).write(tmp_path / "dataset.json")  # fmt: skip
    return PreparedTarget.open(tmp_path)


@pytest.fixture
def make(target: PreparedTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer]:
    """Return a maker of trainers of the same fine-tuning, whose state is saved after every epoch."""
    monkeypatch.setattr(trainer, "SECONDS_BETWEEN_STATES", -1.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", math.inf)

    def one(state: str = "state.safetensors", frozen: bool = False, depth: int = 4, **changed: Any) -> Trainer:
        protocol = Protocol.read({**RECIPE, **changed})
        segmenter = build_segmenter(build_encoder("unet", width=4, depth=depth), 1)
        initialise(segmenter, 3)
        if frozen:
            freeze(segmenter.encoder)
        samples = TargetSamples(target, "train", mean=(0.5,) * 3, std=(0.2,) * 3, augment=True, seed=1)
        fabric = open_fabric("cpu", 1, "32-true")
        return Trainer(fabric, segmenter, samples, TASKS["segmentation"].loss, protocol, 5, tmp_path / state, "key", 0)

    return one


def nothing(epoch: int, values: dict[str, float]) -> None:
    """Observe without adding anything."""


def bad_at(patch: pytest.MonkeyPatch, step: int, value: float) -> list[int]:
    """Let one sample of the given step, counted from 1, be infinite or not a number; give the list of steps seen."""
    original, seen = trainer.place_pixels, list[int]()

    def place_pixels(fabric: Any, pixels: Tensor, *contract: Any) -> Tensor:
        seen.append(len(pixels))
        images = original(fabric, pixels, *contract)
        if len(seen) == step:
            images[-1, 0, 5, 5] = value
        return images

    patch.setattr(trainer, "place_pixels", place_pixels)
    return seen


@pytest.mark.parametrize(("value", "frozen"), [(math.inf, False), (math.nan, True)])
def test_a_bad_sample_stops_at_its_step_and_the_state_before_is_resumed(make, tmp_path, value, frozen):
    whole = make("whole.safetensors", frozen)
    curves = whole.train("whole", nothing)
    rate = 0.05 * (1 - 7 / (3 * EPOCHS)) ** 0.9  # of the eighth step
    words = (
        f"the training loss is nan at optimiser step 8 (epoch 3, learning rate {rate:.4g}); the last good state is that of "
        f"epoch 2, {tmp_path / 'state.safetensors'}; lower finetune.lr, or look for a broken sample, and run again"
    )
    broken = make(frozen=frozen)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StageError, match=f"^{re.escape(words)}$"):
        seen = bad_at(patch, 8, value)
        broken.train("broken", nothing)
    assert len(seen) == 8
    assert (read_progress(tmp_path / "state.safetensors") or {})["epoch"] == 2
    again = make(frozen=frozen)
    assert again.first == 3
    assert again.train("again", nothing) == curves
    assert state_hash(again.raw) == state_hash(whole.raw)


@pytest.mark.parametrize(
    ("step", "saved", "words"), [(1, (0, 1), "1 step of epoch 1"), (8, (2, 2), "epoch 2 and 2 steps of epoch 3")]
)
def test_an_epoch_that_was_interrupted_is_resumed_at_its_last_saved_step(make, tmp_path, monkeypatch, caplog, step, saved, words):
    """Dropout draws the same numbers: each part of an epoch has its own."""
    monkeypatch.setattr(parts, "PART", 1)

    def with_dropout(*arguments: Any) -> Trainer:
        made = make(*arguments)
        made.raw.encoder.register_forward_hook(lambda module, inputs, maps: [dropout(one, 0.2, training=True) for one in maps])
        return made

    whole = with_dropout("whole.safetensors")
    curves, update, steps = whole.train("whole", nothing), Steps.update, list[int]()
    monkeypatch.setattr(Steps, "update", lambda self, number: update(self, number) if number != step else _stop())
    with pytest.raises(KeyboardInterrupt):
        with_dropout().train("stopped", nothing)
    monkeypatch.setattr(Steps, "update", lambda self, number: (steps.append(number), update(self, number)))
    progress = read_progress(tmp_path / "state.safetensors") or {}
    assert (progress["epoch"], progress["part"]["steps"]) == saved
    caplog.set_level("INFO", "medtransfer")
    again = with_dropout()
    assert f"finetune: resumes after {words}" in caplog.text
    assert again.train("again", nothing) == curves and steps == list(range(step, 3 * EPOCHS))
    assert state_hash(again.raw) == state_hash(whole.raw)


def test_each_part_of_an_epoch_draws_numbers_of_its_own(make, monkeypatch):
    """Three parts of an epoch, in four epochs."""
    drawn, place = list[float](), trainer.place_pixels
    monkeypatch.setattr(parts, "PART", 1)
    monkeypatch.setattr(trainer, "place_pixels", lambda *given: (drawn.append(rand(1).item()), place(*given))[1])
    make().train("drawn", nothing)
    assert len(drawn) == len(set(drawn)) == 3 * EPOCHS


def _stop() -> None:
    raise KeyboardInterrupt


def test_before_the_first_state_there_is_none(make, tmp_path):
    broken = make()
    message = r"step 2 \(epoch 1, .*\); no state was saved before; "
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StageError, match=message):
        bad_at(patch, 2, math.inf)
        broken.train("broken", nothing)
    assert not (tmp_path / "state.safetensors").exists()
    assert broken.curves == {"train_loss": [], "lr": []}


@pytest.mark.parametrize("kind", ["weight", "buffer"])
def test_weights_that_go_bad_in_the_last_step_are_not_saved(make, tmp_path, kind):
    """Every loss is finite; only what the step leaves is not."""
    broken, observed = make(), list[int]()
    steps, original = list[int](), broken.raw_optimiser.step

    def step(*arguments: Any, **chosen: Any) -> None:
        original(*arguments, **chosen)
        steps.append(1)
        norm = next(module for module in broken.raw.decoder.modules() if isinstance(module, nn.BatchNorm2d))
        if len(steps) == 6:
            (norm.bias.data if kind == "weight" else norm.running_mean)[0] = math.nan

    broken.raw_optimiser.step = step  # type: ignore[method-assign, assignment]
    named = r"blocks.0.conv.0.1.bias" if kind == "weight" else r"blocks.0.conv.0.1.running_mean"
    with pytest.raises(StageError, match=rf"the {kind} decoder.{named} is not finite, .* step 6 \(epoch 2, .* of epoch 1, "):
        broken.train("broken", lambda epoch, values: observed.append(epoch))
    assert observed == [1]
    assert (read_progress(tmp_path / "state.safetensors") or {})["epoch"] == 1
    assert make().first == 2


def test_saving_takes_a_small_share_of_the_time(make, monkeypatch):
    """A slow disk makes states rarer: each epoch takes 10 s here, each state 1 s."""
    clock, saved = [0.0], list[int]()
    monkeypatch.setattr(trainer, "SECONDS_BETWEEN_STATES", 20.0)
    monkeypatch.setattr(trainer, "SAVING_SHARE", 0.02)
    monkeypatch.setattr(parts.time, "monotonic", lambda: clock[0])

    def save(self: Trainer, epoch: int, part: PartialEpoch) -> None:
        saved.append(epoch)
        clock[0] += 1.0

    def epoch(self: Trainer, number: int, *_: object) -> dict[str, float]:
        clock[0] += 10.0
        return {"train_loss": 0.5, "lr": 0.1}

    monkeypatch.setattr(Trainer, "_save", save)
    monkeypatch.setattr(Trainer, "_epoch", epoch)
    make(train_epochs=20).train("slow", nothing)
    assert saved == [3, 9, 15]  # after 30 s, then with at least 50 s of work between two


@pytest.mark.parametrize(
    ("depth", "changed", "sizes"),
    [
        (6, {"batch_size": 3}, [3, 3, 4]),  # the deepest map is 1x1
        (6, {"batch_size": 3, "epoch_steps": 3}, [3, 3, 3]),
        (6, {"batch_size": 4}, [4, 4, 2]),
        (4, {"batch_size": 3}, [3, 3, 3, 1]),
        (6, {"batch_size": 9}, [10]),
    ],
)
def test_a_last_image_is_trained_on_alone_only_where_that_works(make, depth, changed, sizes):
    trainer = make(depth=depth, train_epochs=1, **changed)
    with pytest.MonkeyPatch.context() as patch:
        seen = bad_at(patch, 0, 0.0)
        trainer.train("joined", nothing)
    assert seen == sizes


@pytest.mark.parametrize(("depth", "refused"), [(6, True), (4, False)])
def test_batches_of_one_are_refused_where_they_cannot_be_trained_on(make, depth, refused):
    if not refused:
        make(depth=depth, batch_size=1, train_epochs=1).train("alone", nothing)
        return
    message = "at least 2 images per step, since at 32x32 .* got 10 training images and finetune.batch_size 1; raise the batch"
    with pytest.raises(InputError, match=message):
        make(depth=depth, batch_size=1)


@pytest.mark.parametrize("name", sorted(ADDED))
def test_an_option_that_changes_nothing_leaves_the_digest_of_finished_cells(name):
    """The digest of the recipe before there were these options, written out."""
    text = json.dumps(RECIPE, sort_keys=True, separators=(",", ":"))
    assert Protocol.read(RECIPE).key == hashlib.sha256(text.encode()).hexdigest()[:12]
    other = {"optimiser": "adamw", "loss": "dice-ce", "decay_norms": False, "clip_grad": 1.0, "ema_decay": 0.9, "tf32": True,
             "reproducible": False, "class_weights": [1.0, 2.0], "focal_gamma": 1.0, "tversky_alpha": 0.5, "tversky_beta": 0.5,
             "schedule": "cosine", "warmup": 1, "layer_decay": 0.9, "augmentation": [], "validate_every": 2,
             "patience": 3, "plateau_factor": 0.1, "plateau_patience": 2, "monitor": "loss",
             "evaluate": "validation", "validation": 0.2, "validation_seed": 1,
             "label_smoothing": 0.1, "ten_crop": True, "sampling": "random", "subset_seed": 1, "test_every": 2}  # fmt: skip
    assert Protocol.read({**RECIPE, name: other[name]}).key != Protocol.read(RECIPE).key


def test_the_rate_of_every_step_by_hand(make):
    """3 steps per epoch: the curve has the rate of each epoch's last step."""
    curves = make(warmup=1, schedule="cosine", lr=0.1).train("warm", nothing)
    assert curves["lr"] == pytest.approx([0.1] + [0.05 * (1 + math.cos(math.pi * step / 9)) for step in (2, 5, 8)])
    curves = make("other.safetensors", warmup=2, power=1.0, lr=0.6).train("warm", nothing)
    assert curves["lr"] == pytest.approx([0.3, 0.6, 0.6 * (1 - 2 / 6), 0.6 * (1 - 5 / 6)])
    curves = make("third.safetensors", warmup=1, schedule="cosine-by-epoch", lr=0.1).train("warm", nothing)
    assert curves["lr"] == pytest.approx([0.1] + [0.05 * (1 + math.cos(math.pi * epoch / 3)) for epoch in (0, 1, 2)])
    factors = iter([1.0, 1.0, 0.5, 0.25])
    curves = make("fourth.safetensors", warmup=2, schedule="plateau", lr=0.6).train("warm", nothing, plateau=lambda: next(factors))
    assert curves["lr"] == pytest.approx([0.3, 0.6, 0.3, 0.15])
