"""Every decoder on every encoder that it fits, and the layers that the decoders' papers define."""

import pytest
import torch
from tests.tiny_encoders import TINY

from medtransfer.decoders import DECODERS
from medtransfer.decoders.attention import AttentionDecoder, AttentionGate
from medtransfer.decoders.build import build_segmenter
from medtransfer.decoders.contract import LevelNorm
from medtransfer.decoders.swin import PatchExpand
from medtransfer.encoders import ENCODERS
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError

pytestmark = pytest.mark.long

EVERY = pytest.mark.parametrize("name", sorted(ENCODERS))
PAIRS = [(name, decoder) for name in ENCODERS for decoder in DECODERS if DECODERS[decoder].fits(build_encoder(name, **TINY[name]))]
EVERY_PAIR = pytest.mark.parametrize(("name", "decoder"), PAIRS)


class Pyramid(Encoder):
    """Average-pooled images as maps of any strides, also ones that do not double."""

    name = "pyramid"
    initialisation = "he"
    default_decoder = "unet"

    def __init__(self, *strides: int) -> None:
        super().__init__({}, [Level(stride, 3) for stride in strides], max(strides, default=1))

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.nn.functional.avg_pool2d(x, level.stride) for level in self.levels]


def test_default_decoders_fit(tiny):
    assert {(name, kind.default_decoder) for name, kind in ENCODERS.items()} <= set(PAIRS)
    assert {decoder for _, decoder in PAIRS} == set(DECODERS)
    assert all(name == kind.name for name, kind in DECODERS.items())
    for name, kind in ENCODERS.items():
        assert type(build_segmenter(tiny(name), 1).decoder) is DECODERS[kind.default_decoder]


@EVERY_PAIR
@pytest.mark.parametrize(("classes", "outputs"), [(1, 1), (3, 4)])
def test_logits_have_the_size_of_the_image(name, decoder, classes, outputs, tiny, images):
    segmenter = build_segmenter(tiny(name), classes, decoder).eval()
    plain, side = segmenter(images), segmenter.encoder.multiple
    assert plain.shape == (2, outputs, 64, 64)
    assert segmenter(torch.zeros(1, 3, 2 * side, side)).shape == (1, outputs, 2 * side, side)
    laid_out = segmenter.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(laid_out, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("decoder", ["unet", "attention"])
@pytest.mark.parametrize("strides", [(1,), (4,), (2, 4, 8), (4, 8, 16, 32), (1, 4, 32), (16, 16, 16), (2, 3, 12), (3, 7)])
def test_strides_of_any_ratio_are_decoded_to_the_size_of_the_image(strides, decoder):
    encoder = Pyramid(*strides)
    side = 84 if 3 in strides else 64
    encoder.multiple = 1
    assert build_segmenter(encoder, 1, decoder)(torch.randn(2, 3, side, 2 * side)).shape == (2, 1, side, 2 * side)


@pytest.mark.parametrize("decoder", [name for name, kind in DECODERS.items() if kind.fits(Pyramid(2, 4))])
def test_levels_of_any_scale_are_decoded_alike_where_they_are_normalised(decoder):
    """Levels whose scales differ a thousandfold give the logits of levels of the same scale."""

    class Normalised(Pyramid):
        normalise_maps = True
        scales = (1.0, 1.0)

        def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [scale * level for scale, level in zip(self.scales, super().maps(x), strict=True)]

    segmenter = build_segmenter(encoder := Normalised(2, 4), 1, decoder)
    initialise(segmenter, 3)
    images = 10 * torch.randn(2, 3, 16, 16)
    logits = segmenter(images)
    encoder.scales = (1000.0, 1.0)
    assert torch.allclose(segmenter(images), logits, atol=1e-4)
    assert not build_segmenter(Pyramid(2, 4), 1, decoder).decoder.norms


def test_an_image_of_one_position_can_be_trained_on():
    norm = LevelNorm(3)
    assert torch.allclose(norm(x := torch.randn(1, 3, 1, 1)), x, atol=1e-4) and norm.training


@EVERY_PAIR
def test_gradients_reach_every_parameter(name, decoder, tiny, images):
    segmenter = build_segmenter(tiny(name, stochastic_depth=0.0), 3, decoder)
    initialise(segmenter, 3)
    segmenter(images).square().mean().backward()
    unreached = [n for n, p in segmenter.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert unreached == []


@EVERY_PAIR
def test_every_level_reaches_the_logits(name, decoder, tiny, images):
    segmenter = build_segmenter(tiny(name), 1, decoder).eval()
    initialise(segmenter, 3)
    maps = segmenter.encoder(images)
    logits = segmenter.decoder(maps)
    for level in range(len(maps)):
        changed = [m + 1.0 * (index == level) * torch.randn_like(m) for index, m in enumerate(maps)]
        assert not torch.allclose(segmenter.decoder(changed), logits), f"level {level}"


def test_unknown_and_unfit_decoders_are_refused(tiny):
    with pytest.raises(ValueError, match="got 0"):
        build_segmenter(tiny("unet"), 0)
    with pytest.raises(InputError, match=rf"{', '.join(sorted(DECODERS))}.*'fpn'"):
        build_segmenter(tiny("unet"), 1, "fpn")
    expected = (
        r"levels of a Swin encoder.* decoder swin, .*resnet50 has 64 channels at stride 2, .*that fit: attention, nearest, unet"
    )
    with pytest.raises(InputError, match=expected):
        build_segmenter(tiny("resnet50"), 1, "swin")
    for strides in ((), (8, 4)):
        with pytest.raises(InputError, match=r"from the finest to the coarsest.*that fit: none"):
            build_segmenter(Pyramid(*strides), 1)


def test_the_unet_decoder_halves_channels_up_to_the_size_of_the_image(tiny):
    blocks = build_segmenter(Pyramid(4, 8, 16), 1, "unet").decoder.blocks
    assert [block.up.out_channels for block in blocks] == [3, 3, 4, 4]  # no wider than a skip connection of 3, then at least 4
    swin = build_segmenter(tiny("swin"), 1, "unet").decoder.blocks
    assert [block.up.out_channels for block in swin] == [32, 16, 8, 4, 4]


def test_the_published_attention_decoder_has_256_128_64_32_16_channels():
    decoder = AttentionDecoder(build_encoder("resnet50").levels, 1)
    assert [block.up.out_channels for block in decoder.blocks] == [256, 128, 64, 32, 16]
    assert [gate.skip.in_channels for gate in decoder.gates] == [1024, 512, 256, 64]


def test_the_attention_gate_by_hand():
    # x = 1..16 on 4x4, sampled at every second place of both sides: 1, 3, 9, 11; g = (0, -2; 1, 1)
    gate = AttentionGate(skip=1, gating=1)
    with torch.no_grad():
        gate.skip.weight.fill_(0.5)
        gate.gating.weight.fill_(2.0)
        gate.gating.bias.fill_(0.25)
        gate.psi.weight.fill_(0.1)
        gate.psi.bias.fill_(-0.3)
    x = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    g = torch.tensor([[0.0, -2.0], [1.0, 1.0]]).view(1, 1, 2, 2)
    # relu(0.5 x + 2 g + 0.25) = 0.75, relu(-2.25) = 0, 6.75, 7.75
    alpha = torch.sigmoid(0.1 * torch.tensor([[0.75, 0.0], [6.75, 7.75]]) - 0.3)
    gated = gate(x, g) / x
    # bilinear doubling keeps the corners, and puts 3/4 and 1/4 of the neighbours between them
    assert gated[0, 0, 0, 0].item() == pytest.approx(alpha[0, 0].item(), rel=1e-5)
    assert gated[0, 0, 3, 3].item() == pytest.approx(alpha[1, 1].item(), rel=1e-5)
    assert gated[0, 0, 0, 1].item() == pytest.approx((0.75 * alpha[0, 0] + 0.25 * alpha[0, 1]).item(), rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_a_narrow_gate_equals_its_strided_convolution(channels):
    gate, skip, gating = AttentionGate(channels, 6), torch.randn(2, channels, 8, 8), torch.randn(2, 6, 4, 4)
    joint = torch.relu(gate.skip(skip) + gate.gating(gating))
    alpha = torch.nn.functional.interpolate(gate.psi(joint).sigmoid(), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(gate(skip, gating), skip * alpha)
    gate = gate.to(memory_format=torch.channels_last)
    skip = torch.randn(10, channels, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
    gate(skip, torch.randn(10, 6, 16, 16).to(memory_format=torch.channels_last)).sum().backward()
    assert skip.grad is not None and skip.grad.isfinite().all()


def test_patch_expanding_lays_out_each_position_as_a_square():
    expand = PatchExpand(4, 1, 2)
    with torch.no_grad():
        expand.expand.weight.copy_(torch.eye(4))
    expand.norm = torch.nn.Identity()
    x = torch.arange(8.0).view(1, 1, 2, 4)  # two positions side by side: 0 1 2 3 and 4 5 6 7
    assert expand(x)[0, :, :, 0].tolist() == [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]


def test_the_swin_decoder_mirrors_the_encoder(tiny):
    encoder = tiny("swin", depths=[1, 2, 3, 1], stochastic_depth=0.6)
    decoder = build_segmenter(encoder, 1).decoder
    assert [len(stage.blocks) for stage in decoder.stages] == [3, 2, 1]
    for ours, theirs in zip(decoder.stages, reversed(list(encoder.layers)[:3]), strict=True):
        for mirror, block in zip(ours.blocks, theirs.blocks, strict=True):
            assert mirror.window_size == block.window_size and mirror.shift_size == block.shift_size
            assert mirror.attn.num_heads == block.attn.num_heads
            assert getattr(mirror.drop_path1, "drop_prob", 0) == getattr(block.drop_path1, "drop_prob", 0)
