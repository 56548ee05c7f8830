"""Initialise all weights of a model from a seed, by the rules of section A.1.4 or the encoder's own method."""

import math
import sys
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from medtransfer.encoders.contract import Encoder

NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
PATCH_EMBED, WINDOW_ATTENTION = "timm.layers.patch_embed.PatchEmbed", "timm.models.swin_transformer.WindowAttention"
HE_GAMMA, PATCH_GAMMA = 2.0, 1 / 3
TRUNCATED_STD, TRUNCATED_BOUND = 0.02, 2.0
HEAD_STD = 0.01  # of linear heads on pooled features


def initialise(model: nn.Module, seed: int) -> None:
    """Initialise a model in place: weights by its rule, biases 0, norms 1 and 0, running statistics reset.

    The same seed gives the same bits on any device. The encoder is the first part of a classifier or segmenter, so it gets
    the same weights there as alone. A part that names its own rule, such as a decoder on another architecture's encoder,
    follows that.

    Args:
        model: an encoder, decoder, segmenter or classifier of this package.
        seed: seed of the random numbers.

    Raises:
        ValueError: the model names no known rule, or has a parameter that neither the rules nor its layer can initialise.
    """
    rule = getattr(model, "initialisation", None)
    if rule not in RULES:
        raise ValueError(f"expected a model with an initialisation among {', '.join(RULES)}, but got {rule!r}")
    generator = torch.Generator().manual_seed(seed)
    rules, patches, done = _rules(model), _patch_layers(model), set[nn.Module]()
    for name, module in model.named_modules():
        if module in done:
            continue
        if isinstance(module, Encoder) and module.reset(seed):
            done.update(module.modules())
        else:
            _set_layer(name, module, PATCH if module in patches else rules[module], generator)


def he_normal(layer: nn.Module, gamma: float, generator: Generator) -> None:
    """Draw a layer's weight from N(0, gamma / fan_in) (equation A.1)."""
    weight = layer.get_parameter("weight")
    values = torch.empty(weight.shape).normal_(0, math.sqrt(gamma / fan_in(layer)), generator=generator)
    with torch.no_grad():
        weight.copy_(values)


def truncated_normal(weight: Tensor, std: float, bound: float, generator: Generator) -> None:
    """Draw a tensor from N(0, std^2); values outside [-bound, bound] are redrawn."""
    values = torch.empty(weight.shape).normal_(0, std, generator=generator)
    while (outside := values.abs() > bound).any():
        values[outside] = torch.empty(int(outside.sum())).normal_(0, std, generator=generator)
    with torch.no_grad():
        weight.copy_(values)


def fan_in(layer: nn.Module) -> float:
    """Return the number of inputs that one output of a layer sums over.

    A transposed convolution spreads each input over kernel^2 outputs, and there are strides^2 outputs per input.
    """
    weight = layer.get_parameter("weight")
    if isinstance(layer, nn.ConvTranspose2d):
        return weight.shape[0] * math.prod(layer.kernel_size) / math.prod(layer.stride)
    return weight[0].numel()


def _set_layer(name: str, module: nn.Module, rule: str, generator: Generator) -> None:
    """Initialise the parameters and statistics of one module, without its children."""
    if isinstance(module, NORMS):
        module.reset_parameters()
    elif isinstance(module, WEIGHTED):
        DRAWS[rule](module, generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif _is_a(module, WINDOW_ATTENTION):
        truncated_normal(module.get_parameter("relative_position_bias_table"), TRUNCATED_STD, TRUNCATED_BOUND, generator)
    elif list(module.parameters(recurse=False)):
        reset = getattr(module, "reset_parameters", None)
        if reset is None:
            kind = type(module).__name__
            raise ValueError(f"expected layers that A.1.4 covers or that reset their parameters, but {name} is a {kind}")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            reset()


def _is_a(module: nn.Module, address: str) -> bool:
    """Return whether a module is of a class of timm, which takes a second to load, and is loaded where there is such a module."""
    place, _, name = address.rpartition(".")
    return place in sys.modules and isinstance(module, getattr(sys.modules[place], name))


def _rules(model: nn.Module) -> dict[nn.Module, str]:
    """Return the rule of every module: that of the innermost enclosing part that names one."""
    rules: dict[nn.Module, str] = {}
    for part in model.modules():
        if rule := getattr(part, "initialisation", None):
            rules.update(dict.fromkeys(part.modules(), rule))
    return rules


def _patch_layers(model: nn.Module) -> set[nn.Module]:
    """Return the layers between pixels and patches, which have their own gamma."""
    embeds = {module.get_submodule("proj") for module in model.modules() if _is_a(module, PATCH_EMBED)}
    expands = {module.get_submodule("expand") for module in model.modules() if getattr(module, "expands_patches_to_pixels", False)}
    return embeds | expands


def _he(layer: nn.Module, generator: Generator) -> None:
    he_normal(layer, HE_GAMMA, generator)


def _truncated(layer: nn.Module, generator: Generator) -> None:
    truncated_normal(layer.get_parameter("weight"), TRUNCATED_STD, TRUNCATED_BOUND, generator)


def _head(layer: nn.Module, generator: Generator) -> None:
    weight = layer.get_parameter("weight")
    values = torch.empty(weight.shape).normal_(0, HEAD_STD, generator=generator)
    with torch.no_grad():
        weight.copy_(values)


def _patch(layer: nn.Module, generator: Generator) -> None:
    he_normal(layer, PATCH_GAMMA, generator)


RULES: dict[str, Callable[[nn.Module, Generator], None]] = {"he": _he, "truncated": _truncated, "head": _head}
PATCH = "patch"
DRAWS = {**RULES, PATCH: _patch}
