"""Batch normalisation: models that cannot train on one image, and statistics of weights that were never trained."""

from collections.abc import Iterable
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


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a model has a batch normalisation with running statistics."""
    return any(True for _ in _tracking(model))


@torch.no_grad()
def redo_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of batch normalisation by the mean of those of each batch.

    Everything else stays as in evaluation, such as stochastic depth; the model is left in eval mode.

    Args:
        model: the model, on the device of the batches.
        batches: images (B, C, H, W) of as many each.

    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018, Section 3.2.
    """
    model.eval()
    norms = list(_tracking(model))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # all batches count alike
        norm.train()
    for batch in batches:
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _tracking(model: nn.Module) -> Iterable[_BatchNorm]:
    return (module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats)
