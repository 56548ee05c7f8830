"""Contrast of two views: NT-Xent, the projection head, and pooling by attention.

Source: Chen et al. 2020 (SimCLR, arXiv 2002.05709), section 2.1; Dippel et al. 2021 (ConRec) and their released code.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

PROJECTED = 128  # features of a projection
DROPOUT = 0.5


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Return the normalised, temperature-scaled cross-entropy of two views, the sum of both directions.

    For each image the other view is to be told from the views of all other images in the batch: of N images one of 2N - 1.
    A batch of one image, which has no others, has the loss 0.

    Args:
        projections: (2 N, D): those of one view of each image, then those of the other views in the same order.
        temperature: divisor of the cosine similarities.

    Source: Chen et al. 2020, equation 1; the sum over both directions instead of their mean as in Dippel et al. 2021.
    """
    first, second = normalize(projections.float() if projections.dtype.itemsize < 4 else projections, dim=1).chunk(2)
    between = first @ second.T / temperature  # (N, N), the diagonal of the same image
    own = torch.eye(len(first), dtype=torch.bool, device=first.device)
    image = torch.arange(len(first), device=first.device)
    total = first.new_zeros(())
    for view, similarities in ((first, between), (second, between.T)):
        others = (view @ view.T / temperature).masked_fill(own, -torch.inf)
        total = total + cross_entropy(torch.cat([similarities, others], dim=1), image)
    return total


class Projection(nn.Sequential):
    """Three linear layers, each with batch normalisation, the first two with ReLU: C, C, 128."""

    def __init__(self, channels: int) -> None:
        """Build the layers for features of C channels."""
        layers: list[nn.Module] = []
        for outputs in (channels, channels, PROJECTED):
            layers += [nn.Linear(channels, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers[:-1])


class AttentionPooling(nn.Module):
    """Mean of a map weighted by an attention a in (0, 1) per position: sum(a x) / sum(a).

    Dropout, then 1x1 convolutions to C/2, C/4, C/8 channels, each with batch normalisation and ReLU, and to one with a sigmoid.
    """

    def __init__(self, channels: int) -> None:
        """Build the layers for maps of C channels."""
        super().__init__()
        layers: list[nn.Module] = [nn.Dropout(DROPOUT)]
        before = channels
        for factor in (2, 4, 8):
            width = max(channels // factor, 1)
            layers += [nn.Conv2d(before, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        self.attention = nn.Sequential(*layers, nn.Conv2d(before, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Pool maps (N, C, H, W) to (N, C)."""
        weights = self.attention(x)  # (N, 1, H, W)
        return (weights * x).sum((2, 3)) / weights.sum((2, 3))
