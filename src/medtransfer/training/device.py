"""Open the accelerator with Lightning Fabric, and move models and images to it in the channels-last memory layout.

Channels last (N, H, W, C in memory) saves a tenth to a third of a convolutional model's time on CPUs, and bf16 on a GPU
needs it. Results differ from those of the contiguous layout by rounding only; the same seed gives the same bits.
"""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from medtransfer.data.pixels import normalise_pixels
from medtransfer.errors import InputError
from medtransfer.launchers import find_launch, forget_launcher
from medtransfer.training.fabric import (
    ClusterEnvironment,
    Fabric,
    LightningEnvironment,
    MisconfigurationException,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

Model = TypeVar("Model", bound=nn.Module)
_OVERRIDING = [f"LT_{name}" for name in ("ACCELERATOR", "STRATEGY", "DEVICES", "NUM_NODES", "PRECISION")]


def open_fabric(accelerator: str, devices: int, precision: Any, num_nodes: int = 1) -> Fabric:
    """Return a new Fabric; every training needs its own, since a Fabric holds the state of mixed precision.

    Args:
        accelerator: `auto`, `cpu`, `gpu` or `mps`.
        devices: number of devices of each machine; `launch` starts a process for each, on one machine.
        precision: `32-true`, `bf16-mixed`, or `16-mixed` (GPU only).
        num_nodes: number of machines; on several, a launcher starts all processes.

    Raises:
        InputError: this machine lacks the device, the device lacks the precision, or the environment overrides them.
    """
    if overriding := [name for name in _OVERRIDING if name in os.environ]:  # Fabric would silently prefer them
        raise InputError(
            f"expected accelerator, devices and precision from the params alone, but the environment sets {', '.join(overriding)}; "
            "unset them"
        )
    requested = f"accelerator {accelerator!r}, {devices} device{'s' if devices > 1 else ''}"
    try:
        environment = _cluster_environment(devices, num_nodes)
        plain: Any = "32-true" if precision == "16-mixed" else precision
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, precision=plain, plugins=environment)
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"expected {requested} on this machine, but {reason}; set accelerator: auto and devices: 1") from None
    if precision != "16-mixed":
        return fabric
    if fabric.device.type == "cpu":  # Fabric would silently use bf16 instead
        raise InputError(f"expected a GPU for precision 16-mixed, but got the CPU by {requested}; set precision: 32-true")
    return Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, precision=precision, plugins=environment)


def _cluster_environment(devices: int, num_nodes: int) -> ClusterEnvironment:
    """Return how the processes of a job find each other.

    Fabric's own choice takes any process of a Slurm job for a task of srun, and then starts no further process.
    """
    started = find_launch() if devices * num_nodes > 1 else None
    if started is None:
        if devices > 1:
            forget_launcher()  # what is left by a launcher of one process would keep Fabric from starting the others
        return LightningEnvironment()
    if started.launcher == "srun":
        os.environ["SLURM_NTASKS_PER_NODE"] = str(devices)  # Fabric insists on it
        return SLURMEnvironment()
    return TorchElasticEnvironment() if "RANK" in os.environ else LightningEnvironment()


def launch(fabric: Fabric, devices: int) -> None:
    """Start the processes of the other devices, and wait for them.

    Args:
        fabric: of `open_fabric`.
        devices: number of devices of all machines.

    Raises:
        InputError: the job does not have a process for each device.
    """
    try:
        fabric.launch()
    except ValueError as error:
        raise InputError(f"expected a job of {devices} devices, but {' '.join(str(error).split())}") from None
    if fabric.world_size != devices:
        raise InputError(
            f"expected {devices} processes, one for each device, but the job has {fabric.world_size}; start the command alone: "
            "it starts the others"
        )


def lay_out(model: Model) -> Model:
    """Convert a model's convolution weights to channels last, in place; values, names and shapes are unchanged.

    Call it before the optimiser's first step: its moments take the layout of their parameters.
    """
    return model.to(memory_format=torch.channels_last)


def place(fabric: Fabric, images: Tensor) -> Tensor:
    """Copy images (N, C, H, W) to the device, channels last; asynchronously from pinned memory."""
    return fabric.to_device(images).contiguous(memory_format=torch.channels_last)


def place_pixels(fabric: Fabric, pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Copy pixels (N, H, W, C) to the device, asynchronously from pinned memory, and make a model's input of them there.

    Arguments and result are those of `normalise_pixels`.
    """
    return normalise_pixels(fabric.to_device(pixels), mean, std)
