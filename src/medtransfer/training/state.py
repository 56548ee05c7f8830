"""Save and restore the state of a training, bit for bit, in one safetensors file."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medtransfer.errors import InputError
from medtransfer.records import in_one_line
from medtransfer.records.state import read_state, write_state


def save_state(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, progress: dict[str, Any], average: nn.Module | None = None
) -> None:  # fmt: skip
    """Write weights, optimiser state and progress atomically.

    Args:
        path: path of the .safetensors file.
        model: model whose parameters and buffers are saved.
        optimiser: optimiser whose state by parameter is saved; the caller must set its hyperparameters again.
        progress: plain values, as JSON.
        average: moving average of the model, if it has one.
    """
    tensors = {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part, module in (("model", model), ("average", average)) if module is not None
        for name, value in module.state_dict().items()
    }  # fmt: skip
    numbers: dict[str, float] = {}
    for index, slots in optimiser.state_dict()["state"].items():
        for name, value in slots.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser.{index}.{name}"] = value.detach().cpu().contiguous()
            elif value is not None:
                numbers[f"{index}.{name}"] = value
    write_state(path, tensors, {"progress": json.dumps(progress), "numbers": json.dumps(numbers)})


def load_state(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: nn.Module | None = None
) -> dict[str, Any]:  # fmt: skip
    """Load what `save_state` wrote into a model and its optimiser.

    Returns:
        The progress.

    Raises:
        InputError: the file is damaged, or holds the state of another model.
    """
    try:
        return _load_state(path, model, optimiser, average)
    except torch.OutOfMemoryError:  # not an error of the file
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"expected the state of this training in {path}, but cannot resume from it ({in_one_line(error)}); remove the file "
            "and run again"
        ) from None


def _load_state(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: nn.Module | None
) -> dict[str, Any]:  # fmt: skip
    tensors, header = read_state(path)
    for part, module in (("model.", model), ("average.", average)):
        if module is not None:
            module.load_state_dict({name.removeprefix(part): v for name, v in tensors.items() if name.startswith(part)})
    slots: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *((f"optimiser.{k}", v) for k, v in json.loads(header["numbers"]).items())]:
        if name.startswith("optimiser."):
            _, index, slot = name.split(".", 2)
            slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})
    for parameter, values in optimiser.state.items():
        _follow_layout(parameter, values)
    return json.loads(header["progress"])


def _follow_layout(parameter: torch.Tensor, slots: dict[str, Any]) -> None:
    """Restore the memory layout of moments, that of their parameter: in another, steps are slower and round differently."""
    for name, value in slots.items():
        if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
            slots[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
