"""A name and constructor arguments go in; an encoder or a segmentation model comes out."""

import inspect
import reprlib
from collections.abc import Callable
from typing import Any

from torch import nn

from medtransfer.errors import InputError
from medtransfer.models.attention_decoder import AttentionDecoder
from medtransfer.models.encoder import Encoder
from medtransfer.models.resnet50 import ResNet50Encoder
from medtransfer.models.segmenter import Segmenter, outputs_of
from medtransfer.models.swin import SwinEncoder
from medtransfer.models.swin_decoder import SwinDecoder
from medtransfer.models.unet import UNetEncoder
from medtransfer.models.unet_decoder import UNetDecoder

ENCODERS: dict[str, type[Encoder]] = {"unet": UNetEncoder, "resnet50": ResNet50Encoder, "swin": SwinEncoder}

MOST, DEEPEST = 2**14, 2**10  # of a number among the arguments; of blocks in all
DEPTHS = {"layers", "depths", "depth"}
# By encoder: what makes the decoder from (encoder, output channels).
SEGMENTERS: dict[str, Callable[[Any, int], nn.Module]] = {
    "unet": UNetDecoder,
    "resnet50": AttentionDecoder,
    "swin": SwinDecoder,
}


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


def build_segmenter(encoder: Encoder, classes: int) -> Segmenter:
    """Put the decoder that belongs to an encoder on it.

    Args:
        encoder: of a kind that SEGMENTERS knows.
        classes: number of non-background classes.

    Returns:
        A model with one output channel for a single class, else classes + 1.

    Raises:
        InputError: no decoder belongs to the encoder.
        ValueError: there is no class.
    """
    if encoder.name not in SEGMENTERS:
        raise InputError(
            f"expected an encoder with a decoder of its own, which {', '.join(sorted(SEGMENTERS))} have, but got "
            f"{encoder.name!r}; take one of those"
        )
    return Segmenter(encoder, SEGMENTERS[encoder.name](encoder, outputs_of(classes)))
