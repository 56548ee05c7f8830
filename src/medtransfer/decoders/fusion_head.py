"""Head of DVME: projections of the sources of a fused encoder, self-attention over them, and a hidden layer.

Source: Truong et al. 2021 (arXiv 2108.10048), section 3.2 and its listing: Linear(d_k, 512) of every source, concatenated; the
512 K features are tokens of one number for timm's `Attention(dim=1, num_heads=1)`, without a residual connection; LayerNorm,
Linear(512 K, 512), ReLU, dropout .2, Linear(512, C). Without attention: the concatenation, then Linear(512 K, C). The text speaks
of attention between the components; with `tokens: source` each source is one token of 512 numbers.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medtransfer.encoders.contract import Encoder, Part

DROPOUT = 0.2
WEIGHTS_AT_ONCE = 2**18  # attention weights per image; 1536 scalar tokens have 2.4 million


class ChunkedAttention(nn.Module):
    """Self-attention of one head, without bias in the first layer; computed for a part of the queries at a time.

    In training the weights of each part are computed again in the backward pass, so they are never in memory together.
    Source: timm's `Attention`, whose parameters it has.
    """

    def __init__(self, width: int, weights_at_once: int = WEIGHTS_AT_ONCE) -> None:
        """Build the layers.

        Args:
            width: numbers of a token.
            weights_at_once: attention weights per image that are in memory at a time, if a single query has no more.
        """
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)
        self.weights_at_once = weights_at_once

    def forward(self, x: Tensor) -> Tensor:
        """Attend among tokens (N, L, width); the shape is kept."""
        queries, keys, values = self.qkv(x).chunk(3, dim=-1)  # (N, L, width) each
        attend: Callable[..., Tensor] = partial(checkpoint, _attend, use_reentrant=False) if torch.is_grad_enabled() else _attend
        parts = (queries * queries.shape[-1] ** -0.5).split(max(1, self.weights_at_once // x.shape[1]), dim=1)
        return self.proj(torch.cat([attend(part, keys, values) for part in parts], dim=1))


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (queries @ keys.transpose(1, 2)).softmax(dim=-1) @ values  # (N, l, L) @ (N, L, width)


class FusionHead(Part):
    """Spatial mean of the coarsest map, projected source by source, fused and classified.

    Attributes:
        initialisation: name of the rule that `initialise` follows.
        projections: a layer per source.
        attention: self-attention over the projections; None without.
        tokens: `scalar` or `source`.
        classifier: from the fused features to logits.
    """

    initialisation = "he"

    def __init__(
        self, encoder: Encoder, outputs: int, projection: int = 512, attention: bool = True, tokens: str = "scalar"
    ) -> None:  # fmt: skip
        """Build the layers for an encoder's coarsest level; the other arguments are those of FusedEncoder."""
        super().__init__()
        self.channels, self.tokens = encoder.source_channels, tokens
        self.projections = nn.ModuleList(nn.Linear(channels, projection) for channels in self.channels)
        width, self.attention = projection * len(self.channels), None
        self.classifier: nn.Module = nn.Linear(width, outputs)
        if attention:
            self.attention = ChunkedAttention(1 if tokens == "scalar" else projection)
            self.classifier = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, projection), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(projection, outputs)
            )

    def pool(self, maps: list[Tensor]) -> Tensor:
        """Return the features (N, sum of the sources' channels) that the projections are applied to."""
        return maps[-1].mean(dim=(2, 3))  # (N, C, h, w) -> (N, C)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Classify the maps of images into logits (N, outputs)."""
        parts = self.pool(maps).split(self.channels, dim=1)
        x = torch.stack([layer(part) for layer, part in zip(self.projections, parts, strict=True)], dim=1)  # (N, K, projection)
        if self.attention is not None:
            x = self.attention(x.flatten(1)[..., None] if self.tokens == "scalar" else x)  # (N, K projection, 1) or as it was
        return self.classifier(x.flatten(1))
