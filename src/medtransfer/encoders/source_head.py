"""Classifier of the source classes on an encoder's last level: a linear layer after the mean over positions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from medtransfer.encoders.contract import Encoder
    from medtransfer.encoders.weights import LoadAudit

OWN = "encoder."  # our checkpoints hold the head beside it
WRAPPERS = {"module", "model", "network", "net", "state_dict"}  # prefixes of a whole classifier


@dataclass(frozen=True)
class NoHead:
    """An encoder has no source head.

    Attributes:
        reason: why, a clause.
    """

    reason: str


class SourceHead(nn.Module):
    """Linear classifier, after layers that see one position at a time.

    A classification network applies it to the mean over all positions. Here it is applied to each position; for a head that
    is linear the mean of these logits over an image is the network's output.

    Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization (arXiv 1512.04150), equation 2.
    """

    def __init__(self, linear: nn.Linear, before: Sequence[nn.Module] = (), pools_first: bool = True) -> None:
        """Take the layers.

        Args:
            linear: gives the logits.
            before: layers between the encoder's last level and it, each without influence between positions.
            pools_first: whether the network takes the mean over positions before these layers, not after them.
        """
        super().__init__()
        self.pools_first = pools_first
        self.layers = nn.ModuleList([*before, linear])
        self.classes = linear.out_features

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (B, Z, h, w) of a last level (B, C, h, w)."""
        count, _, height, width = features.shape
        x = features.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]  # (B * h * w, C, 1, 1)
        for layer in self.layers:
            x = layer(x.flatten(1))[..., None, None] if _is_flat(layer) else layer(x)
        return x.view(count, height, width, -1).permute(0, 3, 1, 2)

    def of_images(self, features: Tensor) -> Tensor:
        """Return the logits (B, Z, 1, 1) of whole images, as the network gives them."""
        if self.pools_first:
            return self(features.mean((2, 3), keepdim=True))
        return self(features).mean((2, 3), keepdim=True)


def _is_flat(layer: nn.Module) -> bool:
    """Return whether a layer takes rows (n, C), not maps; timm's norms of maps are called LayerNorm2d or alike."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.LayerNorm) and not type(layer).__name__.endswith("2d"))


def linear_head(channels: int, weight: Tensor, bias: Tensor | None) -> SourceHead | NoHead:
    """Build the head of a single linear layer.

    Args:
        channels: of the encoder's last level.
        weight: (Z, channels).
        bias: (Z,), or None.
    """
    if weight.ndim != 2 or weight.shape[1] != channels or (bias is not None and bias.shape != weight.shape[:1]):
        return NoHead(f"its classifier {tuple(weight.shape)} is no linear layer on the {channels} channels of its last level")
    if reason := unsuitable(len(weight), [weight, *([] if bias is None else [bias])]):
        return NoHead(reason)
    linear = nn.Linear(channels, len(weight), bias=bias is not None)
    linear.load_state_dict({"weight": weight, **({} if bias is None else {"bias": bias})})
    return SourceHead(linear).eval()


def unsuitable(classes: int, tensors: Sequence[Tensor]) -> str:
    """Return why a classifier gives no probabilities of source classes; empty if it may."""
    if classes < 2:
        return "its classifier has a single output"
    return "" if all(torch.isfinite(tensor).all() for tensor in tensors) else "its classifier has weights that are not finite"


def head_tensors(encoder: "Encoder", tensors: Mapping[str, Tensor], audit: "LoadAudit") -> dict[str, Tensor]:
    """Return the tensors of a weights file that may be its classifier's, by their names in a network without wrappers.

    Empty where the prefix of the encoder's names says that it is part of another network than a classifier, such as MoCo's
    `module.encoder_q.`, whose layer `fc` is a projection.

    Args:
        encoder: encoder that was loaded.
        tensors: tensors of the file.
        audit: of the load.
    """
    outer = audit.prefix.removesuffix(OWN)
    if not WRAPPERS.issuperset(outer.split(".")[:-1]):
        return {}
    names = tuple(_prefixes(encoder))
    own = {name.removeprefix(outer): tensors[name] for name in audit.left_out if name.startswith(outer)}
    return {name: tensor for name, tensor in own.items() if name.startswith(names)}


def _prefixes(encoder: "Encoder") -> Iterator[str]:
    yield from encoder.heads
    yield from (f"{name}." for name in encoder.classifiers)
