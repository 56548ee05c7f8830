"""Contract of encoders: from images (N, 3, H, W), or of other channels, to one map (N, C, H/stride, W/stride) per level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from medtransfer.encoders.normalisation import IMAGENET_MEAN, IMAGENET_STD
from medtransfer.encoders.source_head import NoHead, SourceHead, linear_head
from medtransfer.errors import InputError

RGB_CHANNELS = 3


@dataclass(frozen=True)
class Level:
    """One resolution of an encoder.

    Attributes:
        stride: input pixels per step of the map, along each side.
        channels: channels of the map.
    """

    stride: int
    channels: int


class Part(nn.Module):
    """A part of a model that a mode of transfer trains or keeps as it is.

    Attributes:
        frozen: set by `freeze`; a frozen part stays in eval mode even after `train()`.
    """

    frozen: bool = False

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen part stays in eval mode."""
        return super().train(mode and not self.frozen)


class Encoder(Part):
    """Base class of encoders; a subclass sets `name`, `initialisation` and `default_decoder`, and writes `maps`.

    Attributes:
        name: key of ENCODERS.
        initialisation: name of the rule that `initialise` follows.
        default_decoder: key of DECODERS, for segmentation models that name no decoder.
        arguments: every constructor argument, JSON-able; `build_encoder(name, **arguments)` rebuilds the architecture. Only an
            encoder of other images than RGB has `in_channels`, so that records of the others stay as they were.
        in_channels: channels of the images.
        levels: levels of the maps that `forward` returns, from finest to coarsest.
        multiple: both input sides must be multiples of this many pixels.
        mean: mean per channel, in [0, 1] units, from the training of the architecture's published weights, else ImageNet's.
        std: standard deviation per channel, likewise.
        channels: channel order.
        input_size: side in pixels of the images that published weights were trained with, None if unknown.
        prefix: prefix of this package's tensor names that names in published weights files lack.
        heads: names, or prefixes of names, in published weights files that are not part of the encoder; the usual
            classification heads need not be listed.
        classifiers: names that the linear layer on the mean of the last level may have in weights files; `head` in our own.
        normalise_maps: whether decoders normalise each level first, because the scales of the levels differ widely.
        head_options: arguments that its maps do not depend on, but the fusion head that is trained on them.
        layers_by_depth: regular expressions of the layers' names from the input on, in the form of timm's `group_matcher`.
    """

    name: ClassVar[str]
    initialisation: ClassVar[str]
    default_decoder: ClassVar[str]
    prefix: ClassVar[str] = ""
    heads: tuple[str, ...] = ()
    classifiers: ClassVar[tuple[str, ...]] = ("head",)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: str = "RGB"
    input_size: int | None = None
    normalise_maps: ClassVar[bool] = False
    head_options: Mapping[str, Any] = {}
    layers_by_depth: ClassVar[dict[str, Any]]

    def __init__(
        self, arguments: dict[str, Any], levels: Sequence[Level], multiple: int, in_channels: int = RGB_CHANNELS
    ) -> None:  # fmt: skip
        super().__init__()
        whole_numbers("in_channels", [in_channels], 1)
        self.arguments = arguments if in_channels == RGB_CHANNELS else {**arguments, "in_channels": in_channels}
        self.in_channels = in_channels
        self.levels = tuple(levels)
        self.multiple = multiple

    @property
    def source_channels(self) -> tuple[int, ...]:
        """Channels of the coarsest map by source; the encoder itself is the source if it is no fusion of several."""
        return (self.levels[-1].channels,)

    @property
    def projected(self) -> tuple[Level, ...]:
        """Levels that a decoder of masks gets; it projects maps of more channels to these first."""
        return self.levels

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the maps of a checked input; see `forward`."""
        raise NotImplementedError(f"{type(self).__name__} computes no maps")

    def reset(self, seed: int) -> bool:
        """Initialise all weights by the encoder's own method, if it has one; the same seed gives the same bits on any device.

        Returns:
            Whether the encoder has its own method; if not, the rule that `initialisation` names applies.
        """
        return False

    def source_head(self, tensors: Mapping[str, Tensor]) -> SourceHead | NoHead:
        """Return the classifier of the source classes on the last level.

        Args:
            tensors: tensors of a weights file that are not the encoder's, by name; see `head_tensors`.
        """
        for name in self.classifiers:
            if (weight := tensors.get(f"{name}.weight")) is not None:
                return linear_head(self.levels[-1].channels, weight, tensors.get(f"{name}.bias"))
        return NoHead("its weights hold no classifier that is known")

    def depths(self) -> dict[str, int]:
        """Number the parameters by the depth of their layer, from 0 at the input; names as in `named_parameters`."""
        from timm.models import group_parameters

        return dict(group_parameters(self, self.layers_by_depth, reverse=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode images.

        Args:
            x: normalised images (N, in_channels, H, W).

        Returns:
            One map (N, C, H/stride, W/stride) per level, from finest to coarsest.

        Raises:
            ValueError: the input is not a batch of images of `in_channels` channels.
            InputError: a side is not a multiple of `multiple`.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"expected images of shape (N, {self.in_channels}, H, W), but got {tuple(x.shape)}")
        self.check_size(x.shape[2], x.shape[3])
        return self.maps(x)

    def check_size(self, height: int, width: int) -> None:
        """Check that the encoder accepts images of a size.

        Args:
            height: height of the input, pixels.
            width: width of the input, pixels.

        Raises:
            InputError: a side is not a positive multiple of `multiple`.
        """
        if min(height, width) > 0 and height % self.multiple == 0 and width % self.multiple == 0:
            return
        raise InputError(
            f"expected images whose sides are multiples of {self.multiple} pixels for the encoder {self.name} "
            f"({self.size_rule()}), but got {height}x{width}; resize or crop the images to such a size"
        )

    def size_rule(self) -> str:
        """Return the reason for `multiple`, for messages."""
        return f"its last level has stride {self.levels[-1].stride}"


def whole_numbers(name: str, values: Sequence[int], count: int) -> list[int]:
    """Check a constructor argument that lists positive whole numbers, one per stage.

    Args:
        name: name of the argument.
        values: what was passed.
        count: how many are expected.

    Raises:
        ValueError: another count, or a value that is not a positive whole number.
    """
    listed = isinstance(values, list | tuple) and len(values) == count
    if not listed or any(type(value) is not int or value < 1 for value in values):
        raise ValueError(f"expected {name} to be {count} positive whole number(s), but got {values!r}")
    return list(values)


def drop_rate(name: str, value: float) -> float:
    """Check a constructor argument that is a rate in [0, 1).

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"expected {name} to be a number in [0, 1), but got {value!r}")
    return float(value)
