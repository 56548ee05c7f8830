"""The segmentation models, for every entry of the registry, and the layers that their papers define."""

import pytest
import torch

from medtransfer.decoders.attention import AttentionDecoder, AttentionGate
from medtransfer.decoders.build import SEGMENTERS, build_segmenter
from medtransfer.decoders.swin import PatchExpand
from medtransfer.encoders.build import ENCODERS, build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError

EVERY = pytest.mark.parametrize("name", sorted(ENCODERS))


def test_every_encoder_has_a_segmenter():
    assert SEGMENTERS.keys() == ENCODERS.keys()


@EVERY
@pytest.mark.parametrize(("classes", "outputs"), [(1, 1), (3, 4)])
def test_logits_have_the_size_of_the_image(name, classes, outputs, tiny, images):
    segmenter = build_segmenter(tiny(name), classes)
    assert segmenter(images).shape == (2, outputs, 64, 64)


def test_a_full_resnet50_segments_small_images():
    segmenter = build_segmenter(build_encoder("resnet50"), 3).eval()
    with torch.no_grad():
        assert segmenter(torch.zeros(1, 3, 64, 64)).shape == (1, 4, 64, 64)


@EVERY
def test_oblong_images_are_segmented(name, tiny):
    encoder = tiny(name)
    logits = build_segmenter(encoder, 1).eval()(torch.zeros(1, 3, 2 * encoder.multiple, encoder.multiple))
    assert logits.shape == (1, 1, 2 * encoder.multiple, encoder.multiple)


@EVERY
def test_gradients_reach_every_parameter(name, tiny, images):
    segmenter = build_segmenter(tiny(name, **({} if name == "unet" else {"stochastic_depth": 0.0})), 3)
    initialise(segmenter, 3)
    segmenter(images).square().mean().backward()
    unreached = [n for n, p in segmenter.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert unreached == []


@EVERY
def test_channels_last_gives_the_same_logits(name, tiny, images):
    segmenter = build_segmenter(tiny(name), 3).eval()
    plain = segmenter(images)
    laid_out = segmenter.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(laid_out, plain, atol=1e-4, rtol=1e-4)


@EVERY
def test_every_level_reaches_the_logits(name, tiny, images):
    segmenter = build_segmenter(tiny(name), 1).eval()
    initialise(segmenter, 3)
    maps = segmenter.encoder(images)
    logits = segmenter.decoder(maps)
    for level in range(len(maps)):
        changed = [m + 1.0 * (index == level) * torch.randn_like(m) for index, m in enumerate(maps)]
        assert not torch.allclose(segmenter.decoder(changed), logits), f"level {level}"


def test_no_class_and_no_decoder_are_refused(tiny):
    with pytest.raises(ValueError, match="got 0"):
        build_segmenter(tiny("unet"), 0)
    encoder = tiny("unet")
    encoder.name = "vgg"
    with pytest.raises(InputError, match=r"resnet50, swin, unet.*'vgg'"):
        build_segmenter(encoder, 1)


def test_the_published_attention_decoder_has_256_128_64_32_16_channels():
    decoder = AttentionDecoder(build_encoder("resnet50"), 1)
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
