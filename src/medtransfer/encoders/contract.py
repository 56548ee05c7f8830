"""Images (N, 3, H, W) go in; one map (N, C, H/stride, W/stride) a level comes out, finest first: what encoders are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from medtransfer.errors import InputError


@dataclass(frozen=True)
class Level:
    """One resolution of an encoder.

    Attributes:
        stride: input pixels a step of the map, along each side.
        channels: of the map.
    """

    stride: int
    channels: int


class Encoder(nn.Module):
    """What every encoder is; a subclass sets the class attributes and writes `maps`.

    Attributes:
        name: registry name.
        initialisation: name of the rule that `initialise` follows.
        arguments: every constructor argument, JSON-able; `build_encoder(name, **arguments)` builds the encoder again.
        levels: what `forward` returns, from finest to coarsest.
        multiple: both input sides must be multiples of this many pixels.
        frozen: set by `freeze`; a frozen encoder stays in eval mode whatever `train` is asked for.
    """

    name: ClassVar[str]
    initialisation: ClassVar[str]

    def __init__(self, arguments: dict[str, Any], levels: Sequence[Level], multiple: int) -> None:
        super().__init__()
        self.arguments = arguments
        self.levels = tuple(levels)
        self.multiple = multiple
        self.frozen = False

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the maps of a checked input; see `forward`."""
        raise NotImplementedError(f"{type(self).__name__} computes no maps")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode images.

        Args:
            x: normalised images (N, 3, H, W).

        Returns:
            One map (N, C, H/stride, W/stride) per level, from finest to coarsest.

        Raises:
            ValueError: the input is no batch of three-channel images.
            InputError: its sides do not fit the strides.
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"expected images of shape (N, 3, H, W), but got {tuple(x.shape)}")
        self.check_size(x.shape[2], x.shape[3])
        return self.maps(x)

    def check_size(self, height: int, width: int) -> None:
        """Refuse an input size that the strides do not divide.

        Args:
            height: of the input, pixels.
            width: of the input, pixels.

        Raises:
            InputError: a side is no positive multiple of `multiple`.
        """
        if min(height, width) > 0 and height % self.multiple == 0 and width % self.multiple == 0:
            return
        raise InputError(
            f"expected images whose sides are multiples of {self.multiple} pixels for the encoder {self.name} "
            f"({self.size_rule()}), but got {height}x{width}; resize or crop the images to such a size"
        )

    def size_rule(self) -> str:
        """Say where `multiple` comes from."""
        return f"its last level has stride {self.levels[-1].stride}"

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen encoder stays in eval mode."""
        return super().train(mode and not self.frozen)


def whole_numbers(name: str, values: Sequence[int], count: int) -> list[int]:
    """Check a constructor argument that lists positive whole numbers, one a stage.

    Args:
        name: of the argument.
        values: what was given.
        count: how many there must be.

    Raises:
        ValueError: another count, or a value that is no positive whole number.
    """
    listed = isinstance(values, list | tuple) and len(values) == count
    if not listed or any(type(value) is not int or value < 1 for value in values):
        raise ValueError(f"expected {name} to be {count} positive whole number(s), but got {values!r}")
    return list(values)


def drop_rate(name: str, value: float) -> float:
    """Check a constructor argument that is a rate in [0, 1); anything else is a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"expected {name} to be a number in [0, 1), but got {value!r}")
    return float(value)
