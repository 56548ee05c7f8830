"""Swin Transformer encoder, with the tensor names of timm's weights files.

Source: Liu et al. 2021 (arXiv 2103.14030), on timm's SwinTransformer, whose channels-last maps are permuted to
channels-first. With depths 2-2-6-2 all weights of Swin-T load.
"""

import math
from typing import Any, ClassVar

from torch import Tensor

from medtransfer.encoders.contract import RGB_CHANNELS, Encoder, Level, drop_rate, whole_numbers
from medtransfer.encoders.timm_library import SwinTransformer

PATCH, STAGES = 4, 4


class SwinEncoder(Encoder):
    """Four stages at strides 4 to 32, each a level; the final norm is applied to the last.

    Attributes:
        windows: side of the attention windows per stage, in map positions.
    """

    name = "swin"
    initialisation = "truncated"
    default_decoder = "swin"
    classifiers = ("head.fc", "head")  # of timm, and of torchvision and the authors
    layers_by_depth: ClassVar[dict[str, Any]] = {
        "stem": "^patch_embed",
        "blocks": [(r"^layers\.(\d+)\.downsample", (0,)), (r"^layers\.(\d+)\.\w+\.(\d+)", None), ("^norm", (99999,))],
    }  # 99999 is timm's number for the group before

    def __init__(
        self,
        embed: int = 96,
        depths: tuple[int, ...] | list[int] = (2, 2, 2, 2),
        heads: tuple[int, ...] | list[int] = (3, 6, 12, 24),
        window: int = 7,
        stochastic_depth: float = 0.2,
        size: int = 224,
        in_channels: int = RGB_CHANNELS,
    ) -> None:
        """Build the layers.

        Args:
            embed: channels of the first stage; each further stage has twice as many.
            depths: blocks per stage, four.
            heads: attention heads per stage, four.
            window: side of the attention windows, in map positions.
            stochastic_depth: rate at the last block, in [0, 1); it rises linearly from 0 at the first.
            size: side in pixels of the images that the windows are designed for; a map smaller than the window is one
                window. Images of other sizes are accepted, see `check_size`.
            in_channels: channels of the images.

        Raises:
            ValueError: an argument has another length or range, the heads do not divide the channels, or the windows
                do not tile the maps.
        """
        for name, value in (("embed", embed), ("window", window), ("size", size)):
            whole_numbers(name, [value], 1)
        depths, heads = whole_numbers("depths", depths, STAGES), whole_numbers("heads", heads, STAGES)
        rate = drop_rate("stochastic_depth", stochastic_depth)
        levels = [Level(PATCH * 2**stage, embed * 2**stage) for stage in range(STAGES)]
        self.windows = [min(window, size // level.stride) for level in levels]
        arguments = {"embed": embed, "depths": depths, "heads": heads, "window": window, "stochastic_depth": rate}
        super().__init__({**arguments, "size": size}, levels, _tiling(size, window, self.windows, levels), in_channels)
        if any(level.channels % count for level, count in zip(levels, heads, strict=True)):
            raise ValueError(f"expected heads that divide the channels {[c.channels for c in levels]}, but got {heads}")
        network = SwinTransformer(
            img_size=size,
            patch_size=PATCH,
            in_chans=in_channels,
            num_classes=0,
            embed_dim=embed,
            depths=tuple(depths),
            num_heads=tuple(heads),
            window_size=window,
            strict_img_size=False,
            drop_path_rate=rate,
        )
        self.patch_embed, self.layers, self.norm = network.patch_embed, network.layers, network.norm

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the outputs of the stages; see `Encoder.forward`."""
        x = self.patch_embed(x)  # (N, H/4, W/4, embed)
        maps = []
        for stage in self.layers:
            x = stage(x)
            maps.append(x)
        maps[-1] = self.norm(x)
        return [features.permute(0, 3, 1, 2) for features in maps]  # (N, C, H/stride, W/stride)

    def size_rule(self) -> str:
        """Return the reason for `multiple`, for messages."""
        return f"windows of {self.windows} positions must tile the maps of strides {[lv.stride for lv in self.levels]}"


def _tiling(size: int, window: int, windows: list[int], levels: list[Level]) -> int:
    """Return the smallest side in pixels whose maps the windows tile.

    Raises:
        ValueError: `size` is not a multiple of it.
    """
    coarsest = levels[-1].stride
    multiple = math.lcm(*(level.stride * max(side, 1) for level, side in zip(levels, windows, strict=True)))
    if size % multiple:
        raise ValueError(
            f"expected a size in pixels whose maps windows of {window} positions tile, but got size {size}; take a "
            f"multiple of {coarsest * window}, or with a multiple of {coarsest} a window that divides size/{coarsest}"
        )
    return multiple
