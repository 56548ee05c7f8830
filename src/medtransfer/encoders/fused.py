"""Several encoders as one: the maps of its sources, concatenated level by level.

Source: Truong et al. 2021 (arXiv 2108.10048), section 3.2, which fuses the frozen features of three pretrained encoders. What is
trained on the concatenation, projections and attention, is part of the decoder; this encoder has no weights of its own.

The levels are the strides that any source has. Each holds the maps of the sources that have this stride; the coarsest holds the
coarsest map of every source, averaged down where it is finer.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medtransfer.encoders.contract import RGB_CHANNELS, Encoder, Level, whole_numbers
from medtransfer.encoders.initialise import initialise
from medtransfer.seeds import derive_seed

TOKENS = ("scalar", "source")  # what the fusion head's attention is between: single features, or the features of each source
FIELDS = {"build", "arguments", "mean", "std"}  # of a source


class FusedEncoder(Encoder):
    """The concatenated maps of other encoders; each gets images by its own mean and standard deviation.

    Attributes:
        sources: the encoders.
        parts: (source, level) of the maps that each level concatenates.
        shift: mean per source and channel (K, C, 1, 1), in [0, 1] units, in which the images come.
        scale: standard deviation, likewise.
    """

    name = "fused"
    initialisation = "he"
    default_decoder = "unet"
    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)
    normalise_maps = True  # sources differ in scale
    shift: Tensor
    scale: Tensor

    def __init__(
        self, sources: Sequence[Mapping[str, Any]] = (), projection: int = 512, attention: bool = True, tokens: str = "scalar",
        in_channels: int = RGB_CHANNELS,
    ) -> None:  # fmt: skip
        """Build the sources.

        Args:
            sources: one or more, each with its `build` and `arguments`, and `mean` and `std` of its images; an origin of the kind
                `fused` fills them in.
            projection: features that the fusion head projects each source to, and most channels that a decoder of masks projects
                a level to.
            attention: whether the fusion head has self-attention, norm and hidden layer; else it is linear after the projections.
            tokens: what attends to each other in it: `scalar`, each feature, or `source`, the features of each source.
            in_channels: channels of the images.

        Raises:
            ValueError: there is no source, a source is described wrongly or is a fusion, or an option is out of range.
            InputError: a source cannot be built.
        """
        from medtransfer.encoders.build import build_encoder  # which knows this class

        whole_numbers("projection", [projection], 1)
        if type(attention) is not bool or tokens not in TOKENS:
            expected = f"attention true or false and tokens {' or '.join(TOKENS)}"
            raise ValueError(f"expected {expected}, but got {attention!r} and {tokens!r}")
        described = [_described(source) for source in sources]
        if not described:
            raise ValueError("expected one source or more, which an origin of the kind `fused` names, but got none")
        channels = {} if in_channels == RGB_CHANNELS else {"in_channels": in_channels}
        encoders = [build_encoder(source["build"], **source["arguments"], **channels) for source in described]
        strides = sorted({level.stride for encoder in encoders for level in encoder.levels})
        parts = [_parts(encoders, stride, stride == strides[-1]) for stride in strides]
        widths = [[encoders[k].levels[i].channels for k, i in part] for part in parts]
        self.head_options = {"projection": projection, "attention": attention, "tokens": tokens}
        super().__init__(
            {"sources": described, **self.head_options}, [Level(s, sum(w)) for s, w in zip(strides, widths, strict=True)],
            math.lcm(*(encoder.multiple for encoder in encoders)), in_channels,
        )  # fmt: skip
        self.parts, self._widths = parts, widths
        self.input_size = max((encoder.input_size for encoder in encoders if encoder.input_size), default=None)
        self.sources = nn.ModuleList(encoders)
        for name, key in (("shift", "mean"), ("scale", "std")):
            rows = [[source[key][c % RGB_CHANNELS] for c in range(in_channels)] for source in described]
            self.register_buffer(name, torch.tensor(rows, dtype=torch.float32)[..., None, None], persistent=False)

    @property
    def source_channels(self) -> tuple[int, ...]:
        """Channels of the coarsest map, by source."""
        return tuple(self._widths[-1])

    @property
    def projected(self) -> tuple[Level, ...]:
        """Levels as wide as their widest source, and at most `projection`."""
        most = self.head_options["projection"]
        return tuple(Level(level.stride, min(most, max(w))) for level, w in zip(self.levels, self._widths, strict=True))

    def reset(self, seed: int) -> bool:
        """Initialise every source by its own rule, with a seed of its own; see `Encoder.reset`."""
        for index, source in enumerate(self.sources):
            initialise(source, derive_seed("source", seed, index))
        return True

    def depths(self) -> dict[str, int]:
        """Number the parameters within each source; see `Encoder.depths`."""
        return {
            f"sources.{index}.{name}": depth
            for index, source in enumerate(self.sources)
            for name, depth in source.depths().items()  # type: ignore[operator]
        }

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the maps of all sources, and concatenate them; see `Encoder.forward`."""
        by_source = [source((x - self.shift[k]) / self.scale[k]) for k, source in enumerate(self.sources)]
        sides = [(x.shape[2] // level.stride, x.shape[3] // level.stride) for level in self.levels]
        return [
            torch.cat([_averaged(by_source[k][i], side) for k, i in part], dim=1)  # (N, sum of channels, H/stride, W/stride)
            for part, side in zip(self.parts, sides, strict=True)
        ]

    def size_rule(self) -> str:
        """Return the reason for `multiple`, for messages."""
        return "all of its sources need it"


def fuse(sources: Sequence[tuple[Encoder, Mapping[str, Any]]], **options: Any) -> FusedEncoder:
    """Join encoders with their weights.

    Args:
        sources: encoders of colour images, each with the input contract of its weights.
        options: other arguments of FusedEncoder.

    Raises:
        InputError: an option is out of range, or a source is a fusion itself.
    """
    from medtransfer.encoders.build import build_encoder

    described = [
        {"build": encoder.name, "arguments": encoder.arguments, "mean": list(contract["mean"]), "std": list(contract["std"])}
        for encoder, contract in sources
    ]
    fused = build_encoder("fused", sources=described, **options)
    assert isinstance(fused, FusedEncoder)
    for own, (encoder, _) in zip(fused.sources, sources, strict=True):
        own.load_state_dict(encoder.state_dict())
    return fused


def _described(source: Any) -> dict[str, Any]:
    """Return the description of a source, checked."""
    if not isinstance(source, Mapping) or set(source) != FIELDS or not isinstance(source["arguments"], Mapping):
        raise ValueError(f"expected sources with {', '.join(sorted(FIELDS))}, but got {source!r}")
    if source["build"] == FusedEncoder.name:
        raise ValueError("expected sources that are no fusions, but got one; name the sources of that fusion")
    for key in ("mean", "std"):
        values = source[key]
        if not isinstance(values, list | tuple) or len(values) != RGB_CHANNELS or not all(_is_number(value) for value in values):
            raise ValueError(f"expected {key} of a source to be {RGB_CHANNELS} finite numbers, but got {values!r}")
    if min(source["std"]) <= 0:
        raise ValueError(f"expected std of a source above 0, but got {source['std']!r}")
    if "in_channels" in source["arguments"]:
        raise ValueError("expected sources of colour images, but got one with in_channels")
    return {**source, "arguments": dict(source["arguments"]), "mean": list(source["mean"]), "std": list(source["std"])}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parts(encoders: Sequence[Encoder], stride: int, coarsest: bool) -> list[tuple[int, int]]:
    """List (source, level) of the maps of a stride; at the coarsest one the last level of every source is among them."""
    return [
        (k, i)
        for k, encoder in enumerate(encoders)
        for i, level in enumerate(encoder.levels)
        if level.stride == stride or (coarsest and i == len(encoder.levels) - 1)
    ]


def _averaged(x: Tensor, side: tuple[int, int]) -> Tensor:
    """Average a map (N, C, h, w) down to a size; one of this size is returned unchanged."""
    return x if tuple(x.shape[2:]) == side else functional.adaptive_avg_pool2d(x, side)
