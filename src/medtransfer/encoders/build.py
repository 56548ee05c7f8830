"""Build an encoder from the name of its architecture and its constructor arguments."""

from typing import Any

from medtransfer.encoders import ENCODERS, require_architecture
from medtransfer.encoders.arguments import check_names, parameters_of
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.conv_blocks import subsample_narrow
from medtransfer.errors import InputError
from medtransfer.records.untrusted import check_argument


def build_encoder(build: str, /, **arguments: Any) -> Encoder:
    """Build an encoder; `initialise` or a weights file sets its weights.

    Args:
        build: key of ENCODERS.
        arguments: constructor arguments; the defaults are the published values.

    Raises:
        InputError: the name or an argument is unknown, or a value is out of range.
    """
    require_architecture(build)
    check_names(build, arguments, parameters_of(ENCODERS[build]))
    try:
        for argument, value in arguments.items():
            check_argument(argument, value)
        return subsample_narrow(ENCODERS[build](**arguments))
    except ValueError as error:
        raise InputError(f"cannot build the encoder {build}: {error}; correct its arguments") from None
