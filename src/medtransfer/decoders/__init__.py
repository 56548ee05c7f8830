"""Registry of decoders.

To add one, write its file here and add one line to DECODERS; tests/decoders covers every entry.
"""

from medtransfer.decoders.attention import AttentionDecoder
from medtransfer.decoders.contract import Decoder
from medtransfer.decoders.swin import SwinDecoder
from medtransfer.decoders.unet import UNetDecoder

DECODERS: dict[str, type[Decoder]] = {"unet": UNetDecoder, "attention": AttentionDecoder, "swin": SwinDecoder}
