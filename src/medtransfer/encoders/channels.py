"""Adapt encoders that were pretrained on colour images to images of any other number of channels."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import RGB_CHANNELS, Encoder
from medtransfer.errors import InputError


def adapt_input(encoder: Encoder, channels: int) -> Encoder:
    """Return the encoder for images of another number of channels; itself if it has this number.

    The weights of the first layer are repeated in the order red, green, blue, red, ..., and multiplied by 3 / channels, so
    that its outputs keep their scale; all others are kept. Random weights are adapted in the same way as pretrained ones.

    Args:
        encoder: encoder of colour images, with its weights.
        channels: channels of the images.

    Raises:
        InputError: the encoder cannot take such images.

    Source: timm's `adapt_input_conv`, its convention for `in_chans`.
    """
    if encoder.in_channels == channels:
        return encoder
    adapted = build_encoder(encoder.name, **with_channels(encoder.arguments, channels))
    own = adapted.state_dict()
    adapted.load_state_dict({
        name: _adapt(name, tensor, tuple(own[name].shape), encoder, channels) for name, tensor in encoder.state_dict().items()
    })  # fmt: skip
    return adapted


def with_channels(arguments: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """Return an encoder's arguments for images of a number of channels."""
    if channels == arguments.get("in_channels", RGB_CHANNELS):
        return dict(arguments)
    return {**arguments, "in_channels": channels}


def describe_adaptation(arguments: Mapping[str, Any], channels: int) -> str:
    """Return what `adapt_input` does to an encoder of these arguments, for records; empty if it does nothing."""
    before = arguments.get("in_channels", RGB_CHANNELS)
    if channels == before:
        return ""
    return f"first layer adapted from {before} to {channels} channels: weights repeated, times {before}/{channels}"


def _adapt(name: str, tensor: Tensor, shape: tuple[int, ...], encoder: Encoder, channels: int) -> Tensor:
    if tuple(tensor.shape) == shape:
        return tensor
    if tensor.ndim == 4 and tensor.shape[1] == RGB_CHANNELS and shape == (len(tensor), channels, *tensor.shape[2:]):
        from medtransfer.encoders.timm_library import adapt_input_conv

        return adapt_input_conv(channels, tensor)
    raise InputError(
        f"expected an encoder whose first layer takes the channels of the images, but {name} of {encoder.name} "
        f"{encoder.arguments.get('name', '')} is {tuple(tensor.shape)}, and for {channels} channels {shape}; take another "
        "encoder, or prepare the target with one or three of its `channels`"
    )
