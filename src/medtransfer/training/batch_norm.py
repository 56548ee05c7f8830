"""Find models whose batch normalisation cannot train on one image."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def needs_two_images(model: nn.Module, height: int, width: int, channels: int = 3) -> bool:
    """Whether a batch normalisation in training sees a single value per channel of one image, of which it has no variance.

    That is so where a map is 1x1: a U-Net of depth 5 at 16 pixels, a ResNet50 at 32. Frozen layers do not count. The model
    is run once, in eval mode, so that neither its buffers nor any random state change.

    Args:
        model: the model, on the CPU; it is left in training mode.
        height: height of the images, pixels.
        width: width of the images, pixels.
        channels: channels of the images.
    """
    values: list[int] = []

    def count(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values.append(inputs[0].numel() // inputs[0].shape[1])

    norms = [module for module in model.train().modules() if isinstance(module, _BatchNorm) and module.training]
    hooks: list[Any] = [norm.register_forward_pre_hook(count) for norm in norms]
    model.eval()(torch.zeros(1, channels, height, width))
    for hook in hooks:
        hook.remove()
    model.train()
    return 1 in values
