"""Registry of encoders.

To add one, write its file here, add one line to ENCODERS, and add small arguments to tests/tiny_encoders.py.
"""

from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.dippel_unet import DippelUNetEncoder
from medtransfer.encoders.fused import FusedEncoder
from medtransfer.encoders.resnet50 import ResNet50Encoder
from medtransfer.encoders.swin import SwinEncoder
from medtransfer.encoders.timm import TimmEncoder
from medtransfer.encoders.unet import UNetEncoder

ENCODERS: dict[str, type[Encoder]] = {
    "unet": UNetEncoder, "resnet50": ResNet50Encoder, "swin": SwinEncoder, "timm": TimmEncoder, "fused": FusedEncoder,
    "dippel-unet": DippelUNetEncoder,
}  # fmt: skip
