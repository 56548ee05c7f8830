"""Decoders by name.

To add one, write its file here and add its line to DECODERS; the tests of tests/decoders walk the dict.
"""

from medtransfer.decoders.attention import AttentionDecoder
from medtransfer.decoders.contract import Decoder
from medtransfer.decoders.swin import SwinDecoder
from medtransfer.decoders.unet import UNetDecoder

DECODERS: dict[str, type[Decoder]] = {"unet": UNetDecoder, "attention": AttentionDecoder, "swin": SwinDecoder}
