"""A fused encoder has the maps of its sources, each with its own images and weights."""

import pytest
import torch
from tests.tiny_encoders import TINY, of_fusion

from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.channels import adapt_input
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.fused import fuse
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError

NAMES = ("unet", "resnet50", "timm")
CONTRACTS = [{"mean": source["mean"], "std": source["std"]} for source in of_fusion(*NAMES, tiny=TINY)]


@pytest.fixture(scope="module")
def sources() -> list[Encoder]:
    made = [build_encoder(name, **TINY[name]) for name in NAMES]
    for seed, source in enumerate(made):
        initialise(source, seed)
        source.eval()
    return made


def normalised(images: torch.Tensor, contract: dict[str, list[float]]) -> torch.Tensor:
    mean, std = (torch.tensor(contract[name])[:, None, None] for name in ("mean", "std"))
    return (images - mean) / std


def test_levels_hold_the_maps_of_their_stride_and_the_coarsest_one_every_source(sources, images):
    fused = fuse(list(zip(sources, CONTRACTS, strict=True)), projection=8).eval()
    unet, resnet, timm = (s(normalised(images, c)) for s, c in zip(sources, CONTRACTS, strict=True))
    halved = torch.nn.functional.avg_pool2d(unet[4], 2)
    expected = [
        (1, [unet[0]]), (2, [unet[1], resnet[0]]), (4, [unet[2], resnet[1], timm[0]]), (8, [unet[3], resnet[2], timm[1]]),
        (16, [unet[4], resnet[3], timm[2]]), (32, [halved, resnet[4], timm[3]]),
    ]  # fmt: skip
    assert fused.levels == tuple(Level(stride, sum(m.shape[1] for m in maps)) for stride, maps in expected)
    for ours, (_, maps) in zip(fused(images), expected, strict=True):
        torch.testing.assert_close(ours, torch.cat(maps, dim=1))
    pooled = torch.cat([maps[-1].mean(dim=(2, 3)) for maps in (unet, resnet, timm)], dim=1)
    torch.testing.assert_close(fused(images)[-1].mean(dim=(2, 3)), pooled)
    assert fused.source_channels == (unet[4].shape[1], resnet[4].shape[1], timm[3].shape[1])
    assert fused.multiple == 32 and [state_hash(a) for a in fused.sources] == [state_hash(b) for b in sources]


def test_decoders_of_masks_get_levels_no_wider_than_asked_for_or_than_the_widest_source(sources, images):
    fused = fuse(list(zip(sources, CONTRACTS, strict=True)), projection=24)
    projected = [min(24, max(e.levels[i].channels for e, i in pairs)) for pairs in [
        [(sources[0], 0)], [(sources[0], 1), (sources[1], 0)], *[[(sources[0], i + 2), (sources[1], i + 1), (sources[2], i)]
        for i in range(3)], [(sources[0], 4), (sources[1], 4), (sources[2], 3)],
    ]]  # fmt: skip
    decoder = build_segmenter(fused, 2).decoder
    assert [(p.in_channels, p.out_channels) for p in decoder.projections] == [
        (level.channels, width) for level, width in zip(fused.levels, projected, strict=True)
    ]
    assert not build_segmenter(sources[0], 2).decoder.projections


def test_another_number_of_channels_adapts_every_source(sources):
    images = torch.rand(2, 5, 64, 64)
    fused = adapt_input(fuse(list(zip(sources[1:], CONTRACTS[1:], strict=True))), 5).eval()
    repeated = [{name: [values[c % 3] for c in range(5)] for name, values in contract.items()} for contract in CONTRACTS]
    maps = [adapt_input(s, 5).eval()(normalised(images, c))[-1] for s, c in zip(sources[1:], repeated[1:], strict=True)]
    torch.testing.assert_close(fused(images)[-1], torch.cat(maps, dim=1))


def test_sources_of_one_architecture_start_from_different_weights():
    fused = build_encoder("fused", sources=of_fusion("timm", "timm", "unet", tiny=TINY))
    initialise(fused, 3)
    first = [state_hash(source) for source in fused.sources]
    assert len(set(first)) == 3
    initialise(fused, 3)
    assert [state_hash(source) for source in fused.sources] == first


(UNET,) = of_fusion("unet", tiny=TINY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one source or more, which an origin of the kind `fused` names"),
        ({"sources": [{"build": "unet"}]}, "sources with arguments, build, mean, std"),
        ({"sources": ["unet"]}, "sources with arguments, build, mean, std"),
        ({"sources": [UNET | {"std": [1.0, 0.0, 1.0]}]}, "std of a source above 0"),
        ({"sources": [UNET | {"mean": [float("nan"), 0.0, 0.0]}]}, "mean of a source to be 3 finite numbers"),
        ({"sources": [UNET | {"build": "fused", "arguments": {"sources": [UNET]}}]}, "name the sources of that fusion"),
        ({"sources": [UNET | {"arguments": {"in_channels": 4}}]}, "sources of colour images"),
        ({"sources": [UNET | {"arguments": {"depth": 10**6}}]}, "is more than any encoder has"),
        ({"sources": [UNET], "projection": 0}, "projection to be 1 positive whole"),
        ({"sources": [UNET], "tokens": "pixel"}, "tokens scalar or source, but got True and 'pixel'"),
    ],
)
def test_what_cannot_be_fused_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        build_encoder("fused", **arguments)
