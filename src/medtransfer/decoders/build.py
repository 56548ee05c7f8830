"""Segmentation models: an encoder and the decoder that belongs to it."""

from collections.abc import Callable
from typing import Any

from torch import nn

from medtransfer.decoders.attention import AttentionDecoder
from medtransfer.decoders.segmenter import Segmenter, outputs_of
from medtransfer.decoders.swin import SwinDecoder
from medtransfer.decoders.unet import UNetDecoder
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError

# By encoder: what makes the decoder from (encoder, output channels).
SEGMENTERS: dict[str, Callable[[Any, int], nn.Module]] = {
    "unet": UNetDecoder,
    "resnet50": AttentionDecoder,
    "swin": SwinDecoder,
}


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
