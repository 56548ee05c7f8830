"""Names of an accelerator and a precision go in; a Fabric on that device comes out, or what is wrong in one sentence."""

from typing import Any

from lightning_fabric import Fabric

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
