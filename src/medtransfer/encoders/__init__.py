"""Registry of encoders.

To add one, write its file here, add one line to ENCODERS, and add small arguments to tests/tiny_encoders.py.
"""

from typing import TYPE_CHECKING

from medtransfer.registry import Registry

if TYPE_CHECKING:
    from medtransfer.encoders.contract import Encoder

ENCODERS: "Registry[type[Encoder]]" = Registry({
    "unet": "medtransfer.encoders.unet:UNetEncoder",
    "resnet50": "medtransfer.encoders.resnet50:ResNet50Encoder",
    "swin": "medtransfer.encoders.swin:SwinEncoder",
    "timm": "medtransfer.encoders.timm:TimmEncoder",
    "fused": "medtransfer.encoders.fused:FusedEncoder",
    "dippel-unet": "medtransfer.encoders.dippel_unet:DippelUNetEncoder",
})  # fmt: skip
