"""Build decoders and segmentation models: any encoder with any decoder that fits its levels."""

from medtransfer.decoders import DECODERS
from medtransfer.decoders.contract import Decoder
from medtransfer.decoders.segmenter import Segmenter, outputs_of
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError


def build_segmenter(encoder: Encoder, classes: int, decoder: str | None = None) -> Segmenter:
    """Build a segmentation model.

    Args:
        encoder: any encoder.
        classes: number of non-background classes.
        decoder: key of DECODERS; None for the encoder's default.

    Returns:
        A model with one output channel for a single class, else classes + 1, and logits of the input's size.

    Raises:
        InputError: the decoder is unknown or does not fit the encoder's levels.
        ValueError: `classes` is less than one.
    """
    return Segmenter(encoder, build_decoder(encoder, outputs_of(classes), decoder))


def build_decoder(encoder: Encoder, outputs: int, decoder: str | None = None) -> Decoder:
    """Build a decoder for an encoder.

    Args:
        encoder: any encoder.
        outputs: channels of the logits.
        decoder: key of DECODERS; None for the encoder's default.

    Raises:
        InputError: the decoder is unknown or does not fit the encoder's levels.
    """
    name = encoder.default_decoder if decoder is None else decoder
    if name not in DECODERS:
        raise InputError(f"expected a decoder among {', '.join(sorted(DECODERS))}, but got {name!r}; name one of them")
    if not DECODERS[name].fits(encoder):
        levels = ", ".join(f"{level.channels} channels at stride {level.stride}" for level in encoder.levels)
        fitting = ", ".join(sorted(other for other, kind in DECODERS.items() if kind.fits(encoder))) or "none"
        raise InputError(
            f"expected {DECODERS[name].needs}, for the decoder {name}, but the encoder {encoder.name} has {levels or 'no level'}; "
            f"decoders that fit: {fitting}"
        )
    built = DECODERS[name].build(encoder, outputs)
    if encoder.normalise_maps:
        built.normalise(encoder.levels)
    if encoder.projected != encoder.levels:
        built.project(encoder.levels, encoder.projected)
    return built
