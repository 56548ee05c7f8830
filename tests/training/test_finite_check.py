"""A loss or weight that is not finite stops the training and is named with its step; checks on a GPU are rare."""

import math
import re

import pytest
import torch
from torch import nn

from medtransfer.errors import StageError
from medtransfer.training import finite_check as module
from medtransfer.training.fabric import Fabric
from medtransfer.training.finite_check import STEPS_BETWEEN_CHECKS, FiniteGuard


class Several(Fabric):
    """The first of two processes; the second's losses are `others`, its weights are finite."""

    world_size = 2  # type: ignore[assignment]

    def __init__(self, others: dict[int, float]) -> None:
        super().__init__(accelerator="cpu", devices=1)
        self.others, self.seen, self.calls = others, 0, 0

    def all_reduce(self, data, group=None, reduce_op="mean"):
        assert reduce_op == "mean"
        self.calls += 1
        other = torch.tensor([self.others.get(self.seen + index, 1.0) for index in range(len(data))])
        self.seen += len(data)
        return (data + other) / 2


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.fixture
def optimiser(model: nn.Module) -> torch.optim.Optimizer:
    made = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(4, 3)).square().sum().backward()
    made.step()
    return made


def guarding(model: nn.Module, optimiser: torch.optim.Optimizer, fabric: Fabric | None = None) -> FiniteGuard:
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    return FiniteGuard(fabric, model, optimiser, "Dice loss", lambda: "the last good state is that of epoch 1", "lower the rate")


def test_every_epoch_has_its_own_mean(model, optimiser):
    guard = guarding(model, optimiser)
    for epoch, losses in ((1, [1.0, 2.0, 6.0]), (2, [0.5, 0.25])):
        for number, loss in enumerate(losses):
            guard.observe(torch.tensor(loss, requires_grad=True), number, epoch, 0.1)
        assert guard.end_epoch() == pytest.approx(sum(losses) / len(losses))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_on_a_cpu_the_bad_step_stops_at_once(model, optimiser, value):
    guard = guarding(model, optimiser)
    guard.observe(torch.tensor(0.5), 40, 3, 0.02)
    expected = re.escape(
        f"the Dice loss is {value} at optimiser step 42 (epoch 3, learning rate 0.01875); the last good state is that of epoch 1; "
        "lower the rate"
    )
    with pytest.raises(StageError, match=f"^{expected}$"):
        guard.observe(torch.tensor(value), 41, 3, 0.01875)


def test_a_late_check_names_the_first_bad_step(model, optimiser):
    """As on a GPU: one check per 50 steps, which still names the step and its rate."""
    fabric = Several({})
    guard = guarding(model, optimiser, fabric)
    for step in range(STEPS_BETWEEN_CHECKS + 20):
        guard.observe(torch.tensor(math.nan if step > STEPS_BETWEEN_CHECKS + 6 else 1.0), step, 1, 0.1 / (step + 1))
    assert fabric.calls == 1
    with pytest.raises(StageError, match=rf"nan at optimiser step 58 \(epoch 1, learning rate {0.1 / 58:.4g}\)"):
        guard.end_epoch()


def test_a_loss_of_another_process_stops_this_one_too(model, optimiser):
    bad, good = (guarding(model, optimiser, Several(others)) for others in ({2: math.inf}, {}))
    for guard in (bad, good):
        for step in range(5):
            guard.observe(torch.tensor(3.0), step, 1, 0.1)
    with pytest.raises(StageError, match="Dice loss is inf at optimiser step 3 "):
        bad.end_epoch()
    assert good.end_epoch() == 2.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["the weight 0.bias", "the buffer 1.running_var", "the optimiser's exp_avg_sq of 0.weight"])
def test_a_tensor_that_is_not_finite_stops_the_epoch(model, optimiser, name, value):
    guard = guarding(model, optimiser)
    guard.observe(torch.tensor(0.25), 6, 2, 0.1)
    moments = optimiser.state[model[0].weight]
    tensors = {"the weight 0.bias": model[0].bias.data, "the buffer 1.running_var": model[1].running_var}
    tensors.get(name, moments["exp_avg_sq"]).view(-1)[-1] = value
    expected = f"{name} is not finite, though the Dice loss was 0.25, after optimiser step 7 (epoch 2, learning rate 0.1); the last"
    with pytest.raises(StageError, match=re.escape(expected)):
        guard.end_epoch()


def test_overflowing_sums_and_integer_buffers_are_accepted(model, optimiser):
    model[0].weight.data.fill_(3e38)
    guard = guarding(model, optimiser)
    guard.observe(torch.tensor(0.25), 0, 1, 0.1)
    assert not model[0].weight.sum().isfinite()
    assert guard.end_epoch() == 0.25
    names = [name for name, _ in module._tensors(model, optimiser)]
    assert "the buffer 1.running_mean" in names and not any("num_batches_tracked" in name for name in names)
