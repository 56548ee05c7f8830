"""A loss or a weight that is not finite is named with its step; on a GPU nothing waits for it at every step."""

import math
import re

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from medtransfer.errors import StageError
from medtransfer.training import finite_check as module
from medtransfer.training.finite_check import STEPS_BETWEEN_LOOKS, Watch


class Several(Fabric):
    """Stands for the first of two processes; the other's losses are `others`, its weights are finite."""

    world_size = 2  # type: ignore[assignment]

    def __init__(self, others: dict[int, float]) -> None:
        super().__init__(accelerator="cpu", devices=1)
        self.others, self.seen, self.calls = others, 0, 0

    def all_reduce(self, data, group=None, reduce_op="mean"):
        assert reduce_op == "mean"
        self.calls += 1
        other = torch.tensor([self.others.get(self.seen + place, 1.0) for place in range(len(data))])
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


def watching(model: nn.Module, optimiser: torch.optim.Optimizer, fabric: Fabric | None = None) -> Watch:
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    return Watch(fabric, model, optimiser, "Dice loss", lambda: "the last good state is that of epoch 1", "lower the rate")


def test_the_mean_is_the_epochs_own(model: nn.Module, optimiser: torch.optim.Optimizer):
    watch = watching(model, optimiser)
    for epoch, losses in ((1, [1.0, 2.0, 6.0]), (2, [0.5, 0.25])):
        for number, loss in enumerate(losses):
            watch.see(torch.tensor(loss, requires_grad=True), number, epoch, 0.1)
        assert watch.close() == pytest.approx(sum(losses) / len(losses))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_on_a_cpu_the_step_itself_stops(model: nn.Module, optimiser: torch.optim.Optimizer, value: float):
    watch = watching(model, optimiser)
    watch.see(torch.tensor(0.5), 40, 3, 0.02)
    expected = re.escape(
        f"the Dice loss is {value} at optimiser step 42 (epoch 3, learning rate 0.01875); the last good state is that of epoch 1; "
        "lower the rate"
    )
    with pytest.raises(StageError, match=f"^{expected}$"):
        watch.see(torch.tensor(value), 41, 3, 0.01875)


def test_several_steps_wait_and_the_first_bad_one_is_named(model: nn.Module, optimiser: torch.optim.Optimizer):
    """As on a GPU: looks are as rare as promised, and one that comes late still tells the step and its rate."""
    fabric = Several({})
    watch = watching(model, optimiser, fabric)
    for step in range(STEPS_BETWEEN_LOOKS + 20):
        watch.see(torch.tensor(math.nan if step > STEPS_BETWEEN_LOOKS + 6 else 1.0), step, 1, 0.1 / (step + 1))
    assert fabric.calls == 1
    with pytest.raises(StageError, match=rf"nan at optimiser step 58 \(epoch 1, learning rate {0.1 / 58:.4g}\)"):
        watch.close()


def test_a_loss_of_another_process_stops_this_one_too(model: nn.Module, optimiser: torch.optim.Optimizer):
    watch = watching(model, optimiser, Several({2: math.inf}))
    for step in range(5):
        watch.see(torch.tensor(3.0), step, 1, 0.1)
    with pytest.raises(StageError, match="Dice loss is inf at optimiser step 3 "):
        watch.close()
    watch = watching(model, optimiser, Several({}))
    for step in range(5):
        watch.see(torch.tensor(3.0), step, 1, 0.1)
    assert watch.close() == 2.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["the weight 0.bias", "the buffer 1.running_var", "the optimiser's exp_avg_sq of 0.weight"])
def test_what_would_be_saved_is_finite(model: nn.Module, optimiser: torch.optim.Optimizer, name: str, value: float):
    watch = watching(model, optimiser)
    watch.see(torch.tensor(0.25), 6, 2, 0.1)
    moments = optimiser.state[model[0].weight]
    place = {"the weight 0.bias": model[0].bias.data, "the buffer 1.running_var": model[1].running_var}
    place.get(name, moments["exp_avg_sq"]).view(-1)[-1] = value
    expected = f"{name} is not finite, though the Dice loss was 0.25, after optimiser step 7 (epoch 2, learning rate 0.1); the last"
    with pytest.raises(StageError, match=re.escape(expected)):
        watch.close()


def test_a_sum_that_overflows_is_no_fault(model: nn.Module, optimiser: torch.optim.Optimizer):
    model[0].weight.data.fill_(3e38)
    watch = watching(model, optimiser)
    watch.see(torch.tensor(0.25), 0, 1, 0.1)
    assert not model[0].weight.sum().isfinite()
    assert watch.close() == 0.25


def test_whole_numbers_are_no_weights(model: nn.Module, optimiser: torch.optim.Optimizer):
    names = [name for name, _ in module._tensors(model, optimiser)]
    assert "the buffer 1.running_mean" in names and "the optimiser's exp_avg of 1.weight" in names
    assert not any("num_batches_tracked" in name for name in names)
