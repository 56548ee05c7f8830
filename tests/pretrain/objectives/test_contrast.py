"""NT-Xent, its projection and pooling against values by hand and a loop over all pairs."""

import math

import pytest
import torch

from medtransfer.pretrain.objectives.contrast import AttentionPooling, Projection, nt_xent


def by_pairs(projections: torch.Tensor, temperature: float) -> float:
    """Sum, over both views, the mean over images of -log(exp(s+ / t) / sum exp(s / t)), pair by pair."""
    rows = [row / math.sqrt(sum(value**2 for value in row)) for row in projections.numpy()]
    half, total = len(rows) // 2, 0.0
    for anchor in range(len(rows)):
        powers = {other: math.exp(float(rows[anchor] @ rows[other]) / temperature) for other in range(len(rows)) if other != anchor}
        total -= math.log(powers[(anchor + half) % len(rows)] / sum(powers.values())) / half
    return total


def test_the_published_value():
    """Views (1, 2, 0), (0, 1, 1) and (2, 1, 0), (1, 0, 1) at temperature .5: .9184427728 in each direction."""
    views = torch.tensor([[1, 2, 0], [0, 1, 1], [2, 1, 0], [1, 0, 1]], dtype=torch.float64)
    assert nt_xent(views, 0.5).item() == pytest.approx(2 * 0.9184427728, abs=1e-8)


@pytest.mark.parametrize(("images", "temperature"), [(2, 0.5), (5, 0.1), (7, 2.0)])
def test_it_is_the_sum_over_all_pairs(images, temperature):
    projections = torch.randn(2 * images, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(images))
    loss = nt_xent(projections, temperature)
    assert loss.item() == pytest.approx(by_pairs(projections, temperature), rel=1e-12)
    assert nt_xent(3 * projections, temperature).item() == pytest.approx(loss.item())  # of directions, not lengths


def test_one_image_has_no_others():
    assert nt_xent(torch.randn(2, 4), 0.5).item() == 0.0


def test_half_precision_is_not_normalised_in_half():
    views = torch.randn(8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert nt_xent(views, 0.5).item() == pytest.approx(nt_xent(views.double(), 0.5).item(), rel=1e-6)


def test_attention_weighs_positions():
    """An attention of 1/2 everywhere gives the mean; one that sees the first channel gives the mean over its positions."""
    pooling = AttentionPooling(16).eval()
    maps = torch.randn(3, 16, 4, 5, generator=torch.Generator().manual_seed(1))
    *_, last, _ = pooling.attention
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    torch.testing.assert_close(pooling(maps), maps.mean((2, 3)))
    pooling.attention = torch.nn.Sequential(First())
    expected = torch.stack([image[:, image[0] > 0].mean(1) for image in maps])
    torch.testing.assert_close(pooling(maps), expected)


class First(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, :1] > 0).float()


def test_a_projection_has_normalised_outputs():
    features = Projection(12).train()(torch.randn(9, 12, generator=torch.Generator().manual_seed(2)))
    assert features.shape == (9, 128)
    torch.testing.assert_close(features.mean(0), torch.zeros(128), atol=1e-5, rtol=0)
    assert sum(parameter.numel() for parameter in Projection(512).parameters()) == 2 * 512**2 + 512 * 128 + 2 * (512 + 512 + 128)
