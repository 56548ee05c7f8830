"""A model and a seed go in; its weights, all of them, are set in place by the rules of section A.1.4."""

import math
from collections.abc import Callable

import torch
from timm.layers import PatchEmbed
from timm.models.swin_transformer import WindowAttention
from torch import Generator, Tensor, nn

NORMS = (nn.BatchNorm2d, nn.LayerNorm)
WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
HE_GAMMA, PATCH_GAMMA = 2.0, 1 / 3
TRUNCATED_STD, TRUNCATED_BOUND = 0.02, 2.0


def initialise(model: nn.Module, seed: int) -> None:
    """Set all weights of a model in place: weights by its rule, biases 0, norms 1 and 0, running statistics anew.

    The same seed gives the same bits on any device. An encoder comes first in its classifier or segmenter, so it gets
    there what it gets alone.

    Args:
        model: an encoder, decoder, segmenter or classifier of this package; only what is below it is touched.
        seed: of the random numbers.

    Raises:
        ValueError: the model names no known rule, or holds a parameter that the rules do not cover.
    """
    rule = getattr(model, "initialisation", None)
    if rule not in RULES:
        raise ValueError(f"expected a model with an initialisation among {', '.join(RULES)}, but got {rule!r}")
    generator = torch.Generator().manual_seed(seed)
    patches = _patch_layers(model)
    for name, module in model.named_modules():
        if isinstance(module, NORMS):
            module.reset_parameters()
        elif module in patches:
            he_normal(module, PATCH_GAMMA, generator)
        elif isinstance(module, WEIGHTED):
            RULES[rule](module, generator)
        elif isinstance(module, WindowAttention):
            truncated_normal(module.relative_position_bias_table, TRUNCATED_STD, TRUNCATED_BOUND, generator)
        elif list(module.parameters(recurse=False)):
            raise ValueError(f"expected only layers that A.1.4 covers, but {name} is a {type(module).__name__}")
        if isinstance(module, WEIGHTED) and module.bias is not None:
            nn.init.zeros_(module.bias)


def he_normal(layer: nn.Module, gamma: float, generator: Generator) -> None:
    """Draw a layer's weight from N(0, gamma / fan_in) (equation A.1)."""
    weight = layer.get_parameter("weight")
    values = torch.empty(weight.shape).normal_(0, math.sqrt(gamma / fan_in(layer)), generator=generator)
    with torch.no_grad():
        weight.copy_(values)


def truncated_normal(weight: Tensor, std: float, bound: float, generator: Generator) -> None:
    """Draw a tensor from N(0, std^2); values outside [-bound, bound] are drawn again."""
    values = torch.empty(weight.shape).normal_(0, std, generator=generator)
    while (outside := values.abs() > bound).any():
        values[outside] = torch.empty(int(outside.sum())).normal_(0, std, generator=generator)
    with torch.no_grad():
        weight.copy_(values)


def fan_in(layer: nn.Module) -> float:
    """Give the number of inputs that one output of a layer sums over.

    A transposed convolution spreads each input over kernel^2 outputs, and strides^2 outputs stand for each input.
    """
    weight = layer.get_parameter("weight")
    if isinstance(layer, nn.ConvTranspose2d):
        return weight.shape[0] * math.prod(layer.kernel_size) / math.prod(layer.stride)
    return weight[0].numel()


def _patch_layers(model: nn.Module) -> set[nn.Module]:
    """Find the layers between pixels and patches, which have a gamma of their own."""
    embeds = {module.proj for module in model.modules() if isinstance(module, PatchEmbed)}
    expands = {module.get_submodule("expand") for module in model.modules() if getattr(module, "expands_patches_to_pixels", False)}
    return embeds | expands


def _he(layer: nn.Module, generator: Generator) -> None:
    he_normal(layer, HE_GAMMA, generator)


def _truncated(layer: nn.Module, generator: Generator) -> None:
    truncated_normal(layer.get_parameter("weight"), TRUNCATED_STD, TRUNCATED_BOUND, generator)


RULES: dict[str, Callable[[nn.Module, Generator], None]] = {"he": _he, "truncated": _truncated}
