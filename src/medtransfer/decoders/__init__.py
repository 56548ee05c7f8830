"""Registry of decoders.

To add one, write its file here and add one line to DECODERS; tests/decoders covers every entry.
"""

from typing import TYPE_CHECKING

from medtransfer.errors import InputError
from medtransfer.registry import Registry

if TYPE_CHECKING:
    from medtransfer.decoders.contract import Decoder

DECODERS: "Registry[type[Decoder]]" = Registry({
    "unet": "medtransfer.decoders.unet:UNetDecoder",
    "attention": "medtransfer.decoders.attention:AttentionDecoder",
    "swin": "medtransfer.decoders.swin:SwinDecoder",
    "nearest": "medtransfer.decoders.nearest:NearestDecoder",
})  # fmt: skip
FUSION_HEAD = "fused"  # the head of a fusion of encoders, as records of models name it


def require_head(decoder: str | None) -> None:
    """Refuse a decoder of masks where labels of images are predicted.

    Args:
        decoder: FUSION_HEAD; or None for a linear head.

    Raises:
        InputError: a decoder of masks is named.
    """
    if decoder not in (None, FUSION_HEAD):
        raise InputError(
            f"expected finetune.decoder null for labels of images, which a linear head predicts, but got {decoder!r}, which "
            "predicts masks; set it to null"
        )
