"""Registry of decoders.

To add one, write its file here and add one line to DECODERS; tests/decoders covers every entry.
"""

from typing import TYPE_CHECKING

from medtransfer.registry import Registry

if TYPE_CHECKING:
    from medtransfer.decoders.contract import Decoder

DECODERS: "Registry[type[Decoder]]" = Registry({
    "unet": "medtransfer.decoders.unet:UNetDecoder",
    "attention": "medtransfer.decoders.attention:AttentionDecoder",
    "swin": "medtransfer.decoders.swin:SwinDecoder",
    "nearest": "medtransfer.decoders.nearest:NearestDecoder",
})  # fmt: skip
