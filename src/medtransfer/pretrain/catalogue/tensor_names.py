"""Names of tensors in published files, translated to those of torchvision's ResNet50, which are ours, or of timm's models.

A rule takes the name in the file and returns ours, or None where it does not know the name. Prefixes are only removed from
the start of a name, never from within it.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Rule = Callable[[str], str | None]
BLOCKS = (3, 4, 6, 3)  # of ResNet50
AFFINE = {"scale": "weight", "gamma": "weight", "offset": "bias", "beta": "bias"}
RADIMAGENET = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def strip(prefix: str) -> Rule:
    """Return the rule that removes a prefix, and knows no names without it."""
    return lambda name: name.removeprefix(prefix) if name.startswith(prefix) else None


def radimagenet(name: str) -> str | None:
    """Translate the numbered children of RadImageNet's sequential backbone."""
    match = re.fullmatch(r"backbone\.(\d+)\.(.+)", name)
    layer = RADIMAGENET.get(match[1]) if match else None
    return f"{layer}.{match[2]}" if match and layer else None


def simclr_v2(name: str) -> str | None:
    """Translate the converter's names of SimCLR v2 without selective kernels: `net.0` is the stem, `net.<g>` a group."""
    stem = {"net.0.0.": "conv1.", "net.0.1.0.": "bn1."}
    inner = {
        "projection.shortcut.": "downsample.0.", "projection.bn.0.": "downsample.1.", "net.0.": "conv1.", "net.1.0.": "bn1.",
        "net.2.": "conv2.", "net.3.0.": "bn2.", "net.4.": "conv3.", "net.5.": "bn3.",
    }  # fmt: skip
    match = re.fullmatch(r"net\.([1-4])\.blocks\.(\d+)\.(.+)", name)
    if match is None:
        return next((ours + name[len(theirs) :] for theirs, ours in stem.items() if name.startswith(theirs)), None)
    group, block, rest = match.groups()
    found = next((ours + rest[len(theirs) :] for theirs, ours in inner.items() if rest.startswith(theirs)), None)
    return found and f"layer{group}.{block}.{found}"


def byol(name: str) -> str | None:
    """Translate haiku's names of BYOL's online encoder, `res_net50/~/...`, parameters and moving averages."""
    match = re.fullmatch(r"res_net50/~/(?:block_group_(\d)/~/block_(\d)/~/)?(\w+)(?:/~/(mean_ema|var_ema))?/(\w+)", name)
    if match is None:
        return None
    group, block, layer, average, leaf = match.groups()
    ours = _haiku_layer(layer, group is None)
    tensor = _haiku_tensor(average, leaf)
    if ours is None or tensor is None:
        return None
    return f"{ours}.{tensor}" if group is None else f"layer{int(group) + 1}.{block}.{ours}.{tensor}"


def _haiku_layer(layer: str, stem: bool) -> str | None:
    if stem:
        return {"initial_conv": "conv1", "initial_batchnorm": "bn1"}.get(layer)
    if match := re.fullmatch(r"(conv|batchnorm)_([0-2])", layer):
        return f"{'conv' if match[1] == 'conv' else 'bn'}{int(match[2]) + 1}"
    return {"shortcut_conv": "downsample.0", "shortcut_batchnorm": "downsample.1"}.get(layer)


def _haiku_tensor(average: str | None, leaf: str) -> str | None:
    if average:
        return {"mean_ema": "running_mean", "var_ema": "running_var"}[average] if leaf == "average" else None
    return "weight" if leaf == "w" else AFFINE.get(leaf)


def simclr_v1(name: str) -> str | None:
    """Translate TensorFlow's names of SimCLR v1, whose layers are numbered through, the shortcut first in each block."""
    match = re.fullmatch(r"base_model/(conv2d|batch_normalization)(?:_(\d+))?/(\w+)", name)
    if match is None:
        return None
    kind, number, leaf = match[1], int(match[2] or 0), match[3]
    layers = LAYERS["conv" if kind == "conv2d" else "bn"]
    tensor = {"kernel": "weight", "moving_mean": "running_mean", "moving_variance": "running_var"}.get(leaf, AFFINE.get(leaf))
    return f"{layers[number]}.{tensor}" if tensor and number < len(layers) else None


def _numbered(kind: str) -> list[str]:
    """List the convolutions or norms of a ResNet50 in the order in which TensorFlow makes them."""
    layers, shortcut = [f"{kind}1"], f"downsample.{0 if kind == 'conv' else 1}"
    for group, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            inner = [*([shortcut] if block == 0 else []), *(f"{kind}{number}" for number in (1, 2, 3))]
            layers += [f"layer{group}.{block}.{name}" for name in inner]
    return layers


LAYERS = {kind: _numbered(kind) for kind in ("conv", "bn")}
RULES: dict[str, Rule] = {"byol": byol, "radimagenet": radimagenet, "simclr-v1-tf": simclr_v1, "simclr-v2": simclr_v2}


def from_hwio(tensor: "Tensor") -> "Tensor":
    """Return a convolution's kernel (H, W, I, O), as JAX and TensorFlow have it, as PyTorch's (O, I, H, W)."""
    return tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor
