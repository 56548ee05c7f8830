"""Mappings from tensor names in published weights files to those of our encoders; None skips a tensor."""

import re
from collections.abc import Callable

_TORCHVISION_SWIN_LEAVES = {"mlp.0.": "mlp.fc1.", "mlp.3.": "mlp.fc2."}


def direct(name: str) -> str:
    """Keep the name: timm's models, torchvision's ResNet50, our own checkpoints."""
    return name


def torchvision_swin(name: str) -> str | None:
    """Translate torchvision's Swin to timm's.

    `features.0.0|2` is the patch embedding and its norm, `features.<2i+1>.<j>` block j of stage i, and
    `features.<2i+2>` the merging layer, which is the start of stage i + 1 in timm.
    """
    if name.endswith("relative_position_index"):
        return None
    match = re.fullmatch(r"features\.(\d+)\.(.+)", name)
    if match is None:
        return name
    index, rest = int(match[1]), match[2]
    if index == 0:
        return re.sub(r"^2\.", "patch_embed.norm.", re.sub(r"^0\.", "patch_embed.proj.", rest))
    if index % 2 == 0:
        return f"layers.{index // 2}.downsample.{rest}"
    for theirs, ours in _TORCHVISION_SWIN_LEAVES.items():
        rest = rest.replace(theirs, ours)
    return f"layers.{index // 2}.blocks.{rest}"


def microsoft_swin(name: str) -> str | None:
    """Translate the names of Swin's authors, whose merging layer is the end of stage i, to timm's."""
    if name.endswith(("relative_position_index", "attn_mask")):
        return None
    return re.sub(r"^layers\.(\d+)\.downsample\.", lambda match: f"layers.{int(match[1]) + 1}.downsample.", name)


MAPPINGS: dict[str, Callable[[str], str | None]] = {
    "direct": direct,
    "torchvision-swin": torchvision_swin,
    "microsoft-swin": microsoft_swin,
}
