"""Encoders by name."""

import inspect
import reprlib
from typing import Any

from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.resnet50 import ResNet50Encoder
from medtransfer.encoders.swin import SwinEncoder
from medtransfer.encoders.unet import UNetEncoder
from medtransfer.errors import InputError

ENCODERS: dict[str, type[Encoder]] = {"unet": UNetEncoder, "resnet50": ResNet50Encoder, "swin": SwinEncoder}
MOST, DEEPEST = 2**14, 2**10  # of a number among the arguments; of blocks in all
DEPTHS = {"layers", "depths", "depth"}


def build_encoder(name: str, **arguments: Any) -> Encoder:
    """Make an encoder; its weights are those of the libraries until `initialise` or a weights file sets them.

    Args:
        name: a key of ENCODERS.
        arguments: of its constructor; what is left out takes the published value.

    Raises:
        InputError: the name or an argument is unknown, or a value is out of range.
    """
    if name not in ENCODERS:
        raise InputError(f"expected an encoder among {', '.join(sorted(ENCODERS))}, but got {name!r}; name one of them")
    known = inspect.signature(ENCODERS[name]).parameters
    if unknown := sorted(arguments.keys() - known.keys()):
        raise InputError(
            f"expected arguments of the encoder {name} among {', '.join(sorted(known))}, but got {', '.join(unknown)}; "
            "correct the name"
        )
    try:
        for argument, value in arguments.items():
            _check_size(argument, value)
        return ENCODERS[name](**arguments)
    except ValueError as fault:
        raise InputError(f"cannot make the encoder {name}: {fault}; correct its arguments") from None


def _check_size(name: str, value: Any) -> None:
    """Refuse numbers that would take all memory, or for ever, before anybody could see that they are wrong."""
    numbers = [one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, int)]
    if max(numbers, default=0) > MOST or (name in DEPTHS and sum(numbers) > DEEPEST):
        raise ValueError(f"{name} = {reprlib.repr(value)} is more than any encoder has")
