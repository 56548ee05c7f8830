"""The tiny encoders that decoders are put on."""

from tests.encoders.conftest import images, tiny

__all__ = ["images", "tiny"]
