"""Clipping, weight decay and the moving average do what their formulas say; without them a step is the optimiser's own."""

import pytest
import torch
from torch import nn

from medtransfer.training.device import open_fabric
from medtransfer.training.steps import Steps, build_optimiser, can_fuse

OPTIONS = {"lr": 0.5, "weight_decay": 0.1, "betas": (0.0, 0.999), "fused": True}


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 4, 2))


def made(name: str = "sgd", clip_grad: float | None = None, ema_decay: float | None = None, decay_norms: bool = True) -> Steps:
    model, fabric = network(), open_fabric("cpu", 1, "32-true")
    optimiser = build_optimiser(name, model, decay_norms=decay_norms, **OPTIONS)
    return Steps(fabric, model, optimiser, compiles=False, clip_grad=clip_grad, ema_decay=ema_decay)


def give_gradients(model: nn.Module, value: float) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, value)


@pytest.mark.parametrize(("clip", "expected"), [(None, 3.0), (0.25, 0.25), (1000.0, 3.0)])
def test_a_step_of_sgd_is_as_long_as_the_clipped_gradient(clip, expected):
    """Without momentum and decay a step is lr times the gradient; the gradient is made to have the norm 3."""
    steps = made(clip_grad=clip)
    steps.optimiser.param_groups[0]["weight_decay"] = 0.0
    steps.set_lr(1.0)
    before = torch.cat([parameter.detach().flatten().clone() for parameter in steps.kept.parameters()])
    give_gradients(steps.model, 3.0 / len(before) ** 0.5)
    steps.update(0)
    after = torch.cat([parameter.detach().flatten() for parameter in steps.kept.parameters()])
    assert float((before - after).norm()) == pytest.approx(expected, rel=1e-4)
    assert all(parameter.grad is None for parameter in steps.kept.parameters())


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("decay_norms", [True, False])
def test_norms_and_biases_decay_only_if_asked(name, decay_norms):
    """Without gradients both optimisers multiply what decays by 1 - lr * decay."""
    steps = made(name, decay_norms=decay_norms)
    for parameter in steps.kept.parameters():
        parameter.data.fill_(1.0)
    give_gradients(steps.model, 0.0)
    steps.update(0)
    for key, parameter in steps.kept.named_parameters():
        decays = decay_norms or key in ("0.weight", "3.weight")
        assert torch.allclose(parameter, torch.tensor(0.95 if decays else 1.0)), key


def test_the_average_follows_weights_and_buffers_and_is_what_is_kept():
    """The decay is 0 in the first step and then 1 - step^(-2/3), at most the given one (timm's warm-up)."""
    steps = made(ema_decay=0.6)
    expected = None
    for step, decay in enumerate([0.0, 1 - 2 ** (-2 / 3), 1 - 3 ** (-2 / 3), 0.6]):
        value = float(step + 1)
        for tensor in (*steps.model.parameters(), steps.model.module[1].running_mean):
            tensor.data.fill_(value)
        give_gradients(steps.model, 0.0)
        steps.set_lr(0.0)
        steps.update(step)
        expected = value if expected is None else decay * expected + (1 - decay) * value
        for tensor in (*steps.kept.parameters(), steps.kept[1].running_mean):
            assert tensor.flatten()[0].item() == pytest.approx(expected)
    assert steps.model.module[0].weight.flatten()[0].item() == 4.0


def test_only_scaled_gradients_that_are_clipped_are_not_fused():
    assert [can_fuse(precision, clip) for precision in ("16-mixed", "bf16-mixed") for clip in (None, 1.0)] == [
        True, False, True, True,
    ]  # fmt: skip


def test_a_step_of_lars_by_hand():
    """The rate of each weight is .001 |w| / (|g| + decay |w|); norms and biases have the plain rate and no decay.

    Source: You et al. 2017 (arXiv 1708.03888), equation 6.
    """
    steps = made("lars", decay_norms=False)
    before = {name: value.detach().clone() for name, value in steps.kept.named_parameters()}
    give_gradients(steps.model, 2.0)
    steps.update(0)
    for name, value in steps.kept.named_parameters():
        w, g = before[name], torch.full_like(before[name], 2.0)
        if w.ndim > 1:
            w_norm, g_norm = w.norm(), g.norm()
            expected = w - 0.5 * (0.001 * w_norm / (g_norm + 0.1 * w_norm)) * (g + 0.1 * w)
        else:
            expected = w - 0.5 * g
        torch.testing.assert_close(value.detach(), expected, msg=name)
