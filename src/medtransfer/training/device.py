"""Names of an accelerator and a precision go in; a Fabric on that device comes out, or what is wrong in one sentence.

A model and images go in, and lie on the device the way it computes them fastest when they come out. Channels last
(N, H, W, C in memory) saves a tenth to a third of a convolutional model's time on CPUs, and bf16 on a GPU needs it; results differ
from those of the other layout by rounding only, and the same seed gives the same bits.
"""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medtransfer.errors import InputError


def open_fabric(accelerator: str, devices: int, precision: Any) -> Fabric:
    """Make a Fabric; each training takes one of its own, since it keeps the state of mixed precision.

    Args:
        accelerator: `auto`, `cpu`, `gpu` or `mps`.
        devices: how many of them; more than one are started by `launch`.
        precision: `32-true`, `bf16-mixed`, or on a GPU `16-mixed`.

    Raises:
        InputError: this machine has no such device, or the device no such precision.
    """
    wanted = f"accelerator {accelerator!r}, {devices} device{'s' if devices > 1 else ''}"
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, precision="32-true" if precision == "16-mixed" else precision)
    except (RuntimeError, ValueError) as fault:
        reason = " ".join(str(fault).split()).rstrip(".")
        raise InputError(f"expected {wanted} on this machine, but {reason}; set accelerator: auto and devices: 1") from None
    if precision != "16-mixed":
        return fabric
    if fabric.device.type == "cpu":  # Fabric would take bf16 instead, and the records would not say so
        raise InputError(f"expected a GPU for precision 16-mixed, but got the CPU by {wanted}; set precision: 32-true")
    return Fabric(accelerator=accelerator, devices=devices, precision=precision)


def lay_out(model: nn.Module) -> nn.Module:
    """Order the weights of a model's convolutions channels last, in place; values, names and shapes stay.

    Call it before the optimiser's first step: its moments take the layout of their parameters.
    """
    return model.to(memory_format=torch.channels_last)


def compiled(model: nn.Module, device: torch.device, wanted: bool) -> nn.Module:
    """Give the model to train with: on a GPU and if wanted a compiled shell, which has the model's own parameters.

    Elsewhere it is the model itself: on a CPU the compilation takes longer than it saves.
    """
    return torch.compile(model) if wanted and device.type == "cuda" else model  # type: ignore[return-value]


def place(fabric: Fabric, images: Tensor) -> Tensor:
    """Bring images (N, C, H, W) to the device, channels last; out of pinned memory without waiting for the copy."""
    return fabric.to_device(images).contiguous(memory_format=torch.channels_last)
