"""ResNet50 encoder, with the tensor names of torchvision's and timm's weights files.

Source: He et al. 2016 (arXiv 1512.03385), table 1, on timm's ResNet: the stride is in the 3x3 convolution, as in both
libraries. Section A.1.2: no bias in the convolutions, stochastic depth.
"""

from typing import Any, ClassVar

from torch import Tensor

from medtransfer.encoders.contract import RGB_CHANNELS, Encoder, Level, drop_rate, whole_numbers
from medtransfer.encoders.timm_library import Bottleneck, ResNet

STEM_CHANNELS = 64
STAGES = ("layer1", "layer2", "layer3", "layer4")


class ResNet50Encoder(Encoder):
    """The first convolution (stride 2) and four stages (strides 4 to 32), each a level."""

    name = "resnet50"
    initialisation = "he"
    default_decoder = "attention"
    classifiers = ("fc", "head")
    layers_by_depth: ClassVar[dict[str, Any]] = {"stem": "^(?:conv1|bn1)", "blocks": r"^layer(\d+)\.(\d+)"}

    def __init__(
        self,
        layers: tuple[int, ...] | list[int] = (3, 4, 6, 3),
        channels: tuple[int, ...] | list[int] = (64, 128, 256, 512),
        stochastic_depth: float = 0.1,
        in_channels: int = RGB_CHANNELS,
    ) -> None:
        """Build the layers.

        Args:
            layers: blocks per stage, four.
            channels: inner channels per stage, four; its map has four times as many.
            stochastic_depth: rate at the last block, in [0, 1); it rises linearly from 0 at the first.
            in_channels: channels of the images.

        Raises:
            ValueError: an argument has another length or range.
        """
        layers, channels = whole_numbers("layers", layers, 4), whole_numbers("channels", channels, 4)
        rate = drop_rate("stochastic_depth", stochastic_depth)
        widths = [STEM_CHANNELS, *(Bottleneck.expansion * count for count in channels)]
        levels = [Level(2**index, width) for index, width in enumerate(widths, start=1)]
        arguments = {"layers": layers, "channels": channels, "stochastic_depth": rate}
        super().__init__(arguments, levels, levels[-1].stride, in_channels)
        network = ResNet(
            Bottleneck, tuple(layers), num_classes=0, in_chans=in_channels, channels=tuple(channels),  # type: ignore[arg-type]
            drop_path_rate=rate,
        )  # fmt: skip
        self.conv1, self.bn1, self.act1, self.maxpool = network.conv1, network.bn1, network.act1, network.maxpool
        for name in STAGES:
            self.add_module(name, network.get_submodule(name))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Compute the outputs of the stem and of each stage; see `Encoder.forward`."""
        maps = [self.act1(self.bn1(self.conv1(x)))]  # (N, 64, H/2, W/2)
        x = self.maxpool(maps[0])  # (N, 64, H/4, W/4)
        for name in STAGES:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return maps
