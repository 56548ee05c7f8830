"""Registry of encoders.

To add one, write its file here, add one line to ENCODERS, and add small arguments to tests/tiny_encoders.py.
"""

from typing import TYPE_CHECKING

from medtransfer.errors import InputError
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


def require_architecture(build: str) -> None:
    """Refuse the name of an architecture that is not registered.

    Raises:
        InputError: it is not; the message names those that are.
    """
    if build not in ENCODERS:
        raise InputError(f"expected an encoder among {', '.join(sorted(ENCODERS))}, but got {build!r}; name one of them")
