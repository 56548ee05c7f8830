"""Tiny encoders for the tests of decoders."""

from tests.encoders.conftest import images, tiny

__all__ = ["images", "tiny"]
