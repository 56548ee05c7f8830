"""The head of DVME: published parameter counts and printed values, timm's attention, and attention in chunks."""

import pytest
import torch
from timm.layers import Attention
from torch import Tensor, nn

from medtransfer.decoders.fusion_head import ChunkedAttention, FusionHead
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.initialise import initialise


class Sources(Encoder):
    """An encoder of one level whose channels come from several sources."""

    name = "sources"
    initialisation = "he"

    def __init__(self, *channels: int) -> None:
        super().__init__({}, [Level(1, sum(channels))], 1)
        self.channels = channels  # type: ignore[assignment]

    @property
    def source_channels(self) -> tuple[int, ...]:
        return self.channels  # type: ignore[return-value]


def count(head: nn.Module) -> int:
    return sum(parameter.numel() for parameter in head.parameters())


@pytest.mark.parametrize(
    ("classes", "attention", "expected"),
    [
        (1, True, 3_675_654), (2, True, 3_676_167), (5, True, 3_677_706),
        (1, False, 2_886_657), (2, False, 2_888_194), (5, False, 2_892_805),
    ],
)  # fmt: skip
def test_the_published_head_has_the_published_number_of_parameters(classes, attention, expected):
    """Truong et al. 2021: SimCLR and SwAV have 2048 features, DINO 1536."""
    assert count(FusionHead(Sources(2048, 2048, 1536), classes, attention=attention)) == expected


@pytest.mark.parametrize("channels", [(5,), (3, 4), (2, 2, 7, 1)])
@pytest.mark.parametrize(("attention", "tokens"), [(True, "scalar"), (True, "source"), (False, "scalar")])
def test_any_number_and_width_of_sources_is_fused(channels, attention, tokens):
    head = FusionHead(Sources(*channels), 2, projection=6, attention=attention, tokens=tokens)
    initialise(head, 3)
    torch.manual_seed(2)  # a gradient that LayerNorm leaves of a shift is rounding, and may be 0
    logits = head([torch.randn(4, sum(channels), 2, 2)])
    logits.square().mean().backward()
    assert logits.shape == (4, 2) and all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
    width, token = 6 * len(channels), 1 if tokens == "scalar" else 6
    own = 3 * token**2 + token**2 + token + 2 * width + width * 6 + 6 + 6 * 2 + 2 if attention else width * 2 + 2
    assert count(head) == sum(6 * k + 6 for k in channels) + own


def test_scalar_attention_has_the_printed_values():
    """qkv.weight = proj.weight = 1, proj.bias = 0; row i is the softmax of x_i x over the values x."""
    attention = ChunkedAttention(1).double()
    assert {name: tuple(value.shape) for name, value in attention.named_parameters()} == {
        "qkv.weight": (3, 1), "proj.weight": (1, 1), "proj.bias": (1,),
    }  # fmt: skip
    nn.init.ones_(attention.qkv.weight), nn.init.ones_(attention.proj.weight), nn.init.zeros_(attention.proj.bias)
    values = attention(torch.tensor([[[1.0], [2.0], [3.0]]], dtype=torch.float64)).flatten().tolist()
    assert values == pytest.approx([2.5752103826, 2.8509370922, 2.9479745787], abs=1e-10)


@pytest.mark.parametrize(("width", "tokens"), [(1, 37), (6, 5)])
@pytest.mark.parametrize("weights_at_once", [1, 80, 10**6])
def test_attention_in_chunks_is_that_of_timm(width, tokens, weights_at_once):
    ours, theirs = ChunkedAttention(width, weights_at_once).double(), Attention(dim=width, num_heads=1).double()
    theirs.load_state_dict(ours.state_dict())  # also of the same names
    x = torch.randn(3, tokens, width, dtype=torch.float64)
    results = []
    for attention in (ours, theirs):
        inputs = x.clone().requires_grad_()
        attention(inputs).square().sum().backward()
        results.append([attention(x), inputs.grad, *(parameter.grad for parameter in attention.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_chunks_bound_the_memory():
    """No tensor of the forward pass or for the backward pass holds more weights than a chunk has."""
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    attention, tokens = ChunkedAttention(1, 2 * 64), torch.randn(1, 64, 1)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        attention(tokens)
    assert 0 < max(sizes) <= 3 * 64


def test_permuting_the_concatenation_commutes_with_scalar_attention():
    attention, x = ChunkedAttention(1, 50).double(), torch.randn(2, 24, 1, dtype=torch.float64)
    order = torch.randperm(24)
    torch.testing.assert_close(attention(x[:, order]), attention(x)[:, order])
