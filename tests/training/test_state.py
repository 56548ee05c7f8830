"""The state of a training is restored bit for bit, with moments and buffers; broken files are ignored."""

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medtransfer.records.state import read_progress
from medtransfer.training.state import load_state, save_state

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.05),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.05, fused=True),
    "sgd fused": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=1e-4, fused=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=1e-4),
    "sgd without momentum": lambda p: torch.optim.SGD(p, lr=1e-2),
}

PROGRESS = {"epoch": 7, "curves": {}, "precision": {}}


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    model(images).square().mean().backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def bits(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, bytes]:
    slots = optimiser.state_dict()["state"]
    moments = {f"{i}.{name}": value for i, values in slots.items() for name, value in values.items()}
    return {
        name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()
        for name, value in {**model.state_dict(), **moments}.items()
    }


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_restored_state_and_its_next_step_are_identical(name, form, tmp_path):
    """Moments have the layout of their weights: otherwise the next step is slower and may round differently."""
    (model, optimiser), (other, restored) = (
        (made := network(seed).to(memory_format=form), OPTIMISERS[name](made.parameters())) for seed in (0, 1)
    )
    for seed in range(3):
        step(model, optimiser, seed)
    save_state(tmp_path / "s.safetensors", model, optimiser, {"epoch": 3, "curves": {"loss": [0.1, 1 / 3]}})
    restored.param_groups[0]["lr"] = 1e-2 + 1e-9  # is not restored
    assert load_state(tmp_path / "s.safetensors", other, restored) == {"epoch": 3, "curves": {"loss": [0.1, 1 / 3]}}
    assert restored.param_groups[0]["lr"] == 1e-2 + 1e-9
    restored.param_groups[0]["lr"] = 1e-2
    assert bits(other, restored) == bits(model, optimiser)
    for parameter, slots in restored.state.items():
        assert all(value.stride() == parameter.stride() for value in slots.values() if value is not None and value.ndim)
    for pair in ((model, optimiser), (other, restored)):
        step(*pair, seed=9)
    assert bits(other, restored) == bits(model, optimiser)


def test_frozen_parameters_have_no_state(tmp_path):
    model = network(0)
    model[0].requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = OPTIMISERS["sgd"](trained)
    step(model, optimiser, 0)
    save_state(tmp_path / "s.safetensors", model, optimiser, {})
    other = network(1)
    other[0].requires_grad_(False)
    restored = OPTIMISERS["sgd"]([p for p in other.parameters() if p.requires_grad])
    load_state(tmp_path / "s.safetensors", other, restored)
    assert bits(other, restored) == bits(model, optimiser)


def test_progress_is_read_unless_the_file_is_missing_foreign_or_truncated(tmp_path):
    model, file = network(0), tmp_path / "s.safetensors"
    assert read_progress(file) is None
    save_file({"a": torch.zeros(1)}, file)
    assert read_progress(file) is None
    save_state(file, model, OPTIMISERS["sgd"](model.parameters()), PROGRESS)
    assert read_progress(file) == PROGRESS
    part = {"steps": 100, "total": 1.5, "count": 200, "terms": {"mse": 0.5}}
    for said, known in (
        (part, True),
        (None, False),
        ([], False),
        ({**part, "steps": "1"}, False),
        ({**part, "steps": -100}, False),
        ({**part, "count": 0}, False),
        ({**part, "more": 1}, False),
    ):
        save_state(file, model, OPTIMISERS["sgd"](model.parameters()), PROGRESS | {"part": said})
        assert read_progress(file) == (PROGRESS | {"part": said} if known else None)
    whole = file.read_bytes()
    for kept in (0, 4, 100, -1):
        file.write_bytes(whole[:kept])
        assert read_progress(file) is None
