"""One epoch on nets small enough to work out: accumulation, the rate, mixing, and a loss that is not finite."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from medtransfer.config import Params
from medtransfer.data.pixels import normalise, normalise_pixels, to_images
from medtransfer.errors import StageError
from medtransfer.pretrain.loop import train_epoch
from medtransfer.pretrain.objectives.classification import Classification, accuracy, augment
from medtransfer.pretrain.recipe import Recipe, recipe_of
from medtransfer.training import parts
from medtransfer.training.fabric import Fabric
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.parts import NOTHING, PartialEpoch
from medtransfer.training.steps import Steps

CLASSES = 4


@pytest.fixture
def recipe(tiny_params: Callable[..., Params]) -> Recipe:
    return replace(recipe_of(tiny_params().pretrain), warmup=0, epochs=2, lr=0.1, batch_size=16)


def network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LayerNorm(24), nn.Linear(24, CLASSES)
    )


def pictures(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(8)
    return torch.randint(256, (count, 12, 12, 3), generator=generator, dtype=torch.uint8), torch.arange(count) % CLASSES


def trained(
    recipe: Recipe, micro: int, count: int = 16, objective: type[Classification] = Classification, done: PartialEpoch = NOTHING
) -> tuple[nn.Module, dict[str, float]]:
    """Train one epoch with SGD, whose step is the gradient itself, or what is left of it."""
    fabric = Fabric(accelerator="cpu", devices=1)
    raw = network()
    sgd = torch.optim.SGD(raw.parameters(), lr=0.1)
    steps = Steps(fabric, raw, sgd, compiles=False, clip_grad=None, ema_decay=None)
    guard = FiniteGuard(fabric, raw, sgd, "training loss", lambda: "nothing before", "lower pretrain.lr")
    pixels, labels = pictures(count)
    batches = list(zip(pixels.split(micro), labels.split(micro), strict=True))
    pieces = [16 // micro] * (count // 16)
    labelled: Any = SimpleNamespace(classes=list("abcd"), exclusive=True)
    left = batches[sum(pieces[: done.steps]) :]
    return raw, train_epoch(fabric, steps, left, pieces, recipe, 1, objective(recipe, {"train": labelled}), guard, done)


@pytest.mark.parametrize("micro", [1, 2, 4, 8])
def test_accumulated_micro_batches_give_the_gradient_of_the_batch(recipe, micro):
    whole, expected = trained(recipe, 16)
    parts, found = trained(recipe, micro)
    for a, b in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-6)


def test_one_step_is_the_gradient_of_the_smoothed_cross_entropy(recipe):
    raw, numbers = trained(recipe, 16)
    by_hand = network()
    pixels, labels = pictures(16)
    images = normalise(to_images(pixels), recipe.mean, recipe.std)
    target = (1 - recipe.label_smoothing) * torch.eye(CLASSES)[labels] + recipe.label_smoothing / CLASSES
    loss = -(target * by_hand(images).log_softmax(1)).sum(1).mean()
    loss.backward()
    for a, b in zip(raw.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(a, b - 0.1 * b.grad, rtol=1e-5, atol=1e-7)
    assert numbers["train_loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_the_rate_follows_the_schedule_by_optimiser_step(recipe):
    _, numbers = trained(recipe, 4, count=32)  # the second of 2 steps of the first of 2 epochs
    assert numbers["lr"] == pytest.approx(0.1 * 0.5 * (1 + 2**-0.5))
    _, numbers = trained(replace(recipe, warmup=1), 4, count=32)
    assert numbers["lr"] == pytest.approx(0.1)


def test_mixing_and_erasing_change_the_loss_and_are_seeded(recipe):
    plain = trained(recipe, 16)[1]["train_loss"]
    for changed in ({"cutmix": 1.0}, {"mixup": 1.0}, {"erasing": 1.0}):
        once, again = (trained(replace(recipe, **changed), 16)[1]["train_loss"] for _ in range(2))
        assert once == again != plain
        assert trained(replace(recipe, **changed, seed=recipe.seed + 1), 16)[1]["train_loss"] != once


class Drawing(Classification):
    """Notes the random numbers that each micro-batch would get, and has a part of its loss."""

    terms = ("part",)

    def inputs(self, fabric: Any, batch: Any, generator: torch.Generator | None) -> tuple[Tensor, Any]:
        drawn.append((torch.rand(1).item(), torch.rand(1, generator=generator).item()))
        return super().inputs(fabric, batch, generator)

    def loss(self, outputs: Any, targets: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, _ = super().loss(outputs, targets)
        parts_of_loss.append(2 * loss.item())
        return loss, {"part": 2 * loss}


drawn, parts_of_loss = list[tuple[float, float]](), list[float]()


def test_each_part_of_an_epoch_draws_numbers_of_its_own(recipe, monkeypatch):
    """Three parts of two, two and one steps; the last part alone draws what it draws in the whole epoch."""
    monkeypatch.setattr(parts, "PART", 2)
    drawn.clear()
    parts_of_loss.clear()
    numbers = trained(recipe, 8, 80, Drawing)[1]
    whole = drawn.copy()
    assert len({number for pair in whole for number in pair}) == 2 * 10
    assert numbers["train_part"] == pytest.approx(np.mean(parts_of_loss), rel=1e-6)
    assert numbers["train_loss"] == pytest.approx(np.mean(parts_of_loss) / 2, rel=1e-6)
    drawn.clear()
    done = PartialEpoch(4, 8 * 1.5, 8, {"part": 3.0})
    parts_of_loss.clear()
    numbers = trained(recipe, 8, 80, Drawing, done)[1]
    assert drawn == whole[8:]
    assert numbers["train_part"] == pytest.approx((8 * 3.0 + sum(parts_of_loss)) / 10, rel=1e-6) == 2 * numbers["train_loss"]


def test_a_loss_that_is_not_finite_names_its_step(recipe, monkeypatch):
    seen: list[Tensor] = []

    def third_step_is_bad(logits: Tensor, targets: Tensor, **chosen: float) -> Tensor:
        seen.append(logits)
        return cross_entropy(logits, targets, **chosen) + (math.nan if len(seen) == 2 * 4 + 3 else 0.0)

    monkeypatch.setattr("medtransfer.pretrain.objectives.classification.cross_entropy", third_step_is_bad)
    rate = rf"learning rate {0.1 * 0.5 * (1 + math.cos(math.pi * 2 / 6)):.4g}"  # the third of 3 steps an epoch, 2 epochs
    message = rf"training loss is nan at optimiser step 3 \(epoch 1, {rate}\); nothing before; lower"
    with pytest.raises(StageError, match=message):
        trained(recipe, 4, count=48)
    assert len(seen) == 11


def test_mixing_happens_where_the_images_lie(recipe):
    recipe = replace(recipe, cutmix=0.5, mixup=0.4, erasing=1.0)
    pixels, labels = pictures(16)
    images = normalise_pixels(pixels, recipe.mean, recipe.std)
    mixed, targets = augment(images, labels, recipe, CLASSES, torch.Generator())
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(targets.sum(1), torch.ones(16))
    elsewhere = augment(images.to("meta"), labels.to("meta"), recipe, CLASSES, torch.Generator())
    assert [one.device.type for one in elsewhere] == ["meta", "meta"]  # no value is asked for: nothing waits for a device


def test_accuracy_by_hand_over_uneven_batches():
    fabric = Fabric(accelerator="cpu", devices=1)
    model = fabric.setup(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(CLASSES)))
    rows = torch.eye(CLASSES).view(CLASSES, CLASSES, 1, 1)
    batches = [(rows[[0, 1, 2]], torch.tensor([0, 1, 3])), (rows[[3]], torch.tensor([3]))]
    assert accuracy(fabric, model, batches) == 0.75
    assert not model.training
