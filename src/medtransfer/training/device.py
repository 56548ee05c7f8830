"""Open the accelerator with Lightning Fabric, and move models and images to it in the channels-last memory layout.

Channels last (N, H, W, C in memory) saves a tenth to a third of a convolutional model's time on CPUs, and bf16 on a GPU
needs it. Results differ from those of the contiguous layout by rounding only; the same seed gives the same bits.
"""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medtransfer.errors import InputError


def open_fabric(accelerator: str, devices: int, precision: Any) -> Fabric:
    """Return a new Fabric; every training needs its own, since a Fabric holds the state of mixed precision.

    Args:
        accelerator: `auto`, `cpu`, `gpu` or `mps`.
        devices: number of devices; `launch` starts a process for each.
        precision: `32-true`, `bf16-mixed`, or `16-mixed` (GPU only).

    Raises:
        InputError: this machine lacks the device, or the device lacks the precision.
    """
    requested = f"accelerator {accelerator!r}, {devices} device{'s' if devices > 1 else ''}"
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, precision="32-true" if precision == "16-mixed" else precision)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"expected {requested} on this machine, but {reason}; set accelerator: auto and devices: 1") from None
    if precision != "16-mixed":
        return fabric
    if fabric.device.type == "cpu":  # Fabric would silently use bf16 instead
        raise InputError(f"expected a GPU for precision 16-mixed, but got the CPU by {requested}; set precision: 32-true")
    return Fabric(accelerator=accelerator, devices=devices, precision=precision)


def lay_out(model: nn.Module) -> nn.Module:
    """Convert a model's convolution weights to channels last, in place; values, names and shapes are unchanged.

    Call it before the optimiser's first step: its moments take the layout of their parameters.
    """
    return model.to(memory_format=torch.channels_last)


def place(fabric: Fabric, images: Tensor) -> Tensor:
    """Copy images (N, C, H, W) to the device, channels last; asynchronously from pinned memory."""
    return fabric.to_device(images).contiguous(memory_format=torch.channels_last)
