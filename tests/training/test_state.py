"""The state of a training is restored bit for bit, with moments and buffers; broken files are ignored."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from medtransfer.training.state import load_state, read_progress, save_state

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


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_restored_state_and_its_next_step_are_identical(name, tmp_path):
    model = network(0)
    optimiser = OPTIMISERS[name](model.parameters())
    for seed in range(3):
        step(model, optimiser, seed)
    save_state(tmp_path / "s.safetensors", model, optimiser, {"epoch": 3, "curves": {"loss": [0.1, 1 / 3]}})
    other = network(1)
    restored = OPTIMISERS[name](other.parameters())
    assert load_state(tmp_path / "s.safetensors", other, restored) == {"epoch": 3, "curves": {"loss": [0.1, 1 / 3]}}
    assert bits(other, restored) == bits(model, optimiser)
    for pair in ((model, optimiser), (other, restored)):
        step(*pair, seed=9)
    assert bits(other, restored) == bits(model, optimiser)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_restored_moments_have_the_layout_of_their_weights(name, tmp_path):
    """Otherwise the next step is slower and may round differently."""
    model = network(0).to(memory_format=torch.channels_last)
    optimiser = OPTIMISERS[name](model.parameters())
    step(model, optimiser, 0)
    save_state(tmp_path / "s.safetensors", model, optimiser, {})
    other = network(1).to(memory_format=torch.channels_last)
    restored = OPTIMISERS[name](other.parameters())
    load_state(tmp_path / "s.safetensors", other, restored)
    assert other[0].weight.stride() != network(0)[0].weight.stride()
    for parameter, slots in restored.state.items():
        assert all(value.stride() == parameter.stride() for value in slots.values() if value is not None and value.ndim)
    for pair in ((model, optimiser), (other, restored)):
        step(*pair, seed=9)
    assert bits(other, restored) == bits(model, optimiser)


def test_hyperparameters_are_not_restored(tmp_path):
    model = network(0)
    optimiser = OPTIMISERS["adamw"](model.parameters())
    step(model, optimiser, 0)
    save_state(tmp_path / "s.safetensors", model, optimiser, {})
    restored = torch.optim.AdamW(model.parameters(), lr=0.5)
    load_state(tmp_path / "s.safetensors", model, restored)
    assert restored.param_groups[0]["lr"] == 0.5


def test_progress_is_read_without_the_tensors(tmp_path):
    model = network(0)
    save_state(tmp_path / "s.safetensors", model, OPTIMISERS["sgd"](model.parameters()), PROGRESS)
    assert read_progress(tmp_path / "s.safetensors") == PROGRESS


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


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file_is_ignored(kept, tmp_path):
    model = network(0)
    file = tmp_path / "s.safetensors"
    save_state(file, model, OPTIMISERS["sgd"](model.parameters()), PROGRESS)
    file.write_bytes(file.read_bytes()[:kept])
    assert read_progress(file) is None


def test_a_missing_or_foreign_file_is_ignored(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    assert read_progress(tmp_path / "none.safetensors") is None
    assert read_progress(tmp_path / "weights.safetensors") is None


def test_an_interrupted_write_keeps_the_older_state(tmp_path, monkeypatch):
    model, file = network(0), tmp_path / "s.safetensors"
    optimiser = OPTIMISERS["sgd"](model.parameters())
    save_state(file, model, optimiser, PROGRESS)

    def interrupted(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("medtransfer.training.state.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_state(file, model, optimiser, {**PROGRESS, "epoch": 8})
    assert read_progress(file) == PROGRESS
    assert list(tmp_path.iterdir()) == [file]
