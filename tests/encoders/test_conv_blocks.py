"""Strided 1x1 convolutions of few channels, of which oneDNN writes behind the end of the gradient."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.tiny_encoders import TINY
from torch import nn
from torch.nn import functional

from medtransfer.decoders import DECODERS
from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders import ENCODERS
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.conv_blocks import NARROW, subsample_narrow

CHECKED = Path("/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")
CODE = """
import torch
from medtransfer.encoders.conv_blocks import subsample_narrow
torch.set_num_threads(1)
for channels in (2, 4, 7, 8, 12, 15, 16):
    for stride in (2, 4):
        conv = subsample_narrow(torch.nn.Conv2d(channels, 4, 1, stride=stride, bias=False)).to(memory_format=torch.channels_last)
        for _ in range(3):
            images = torch.randn(2, channels, 128, 128).contiguous(memory_format=torch.channels_last).requires_grad_()
            conv(images).sum().backward()
            del images
"""


@pytest.mark.parametrize(("channels", "stride"), [(3, 2), (8, 2), (15, (4, 2)), (NARROW, 2)])
def test_the_result_is_that_of_the_strided_convolution(channels, stride):
    conv = nn.Conv2d(channels, 4, 1, stride=stride)
    strides = conv.stride
    names = [*conv.state_dict()]
    assert subsample_narrow(conv) is conv and [*conv.state_dict()] == names
    assert conv.stride == (strides if channels == NARROW else (1, 1))
    images, theirs = (torch.randn(2, channels, 9, 12, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    ours = conv(images.requires_grad_())
    expected = functional.conv2d(theirs.requires_grad_(), conv.weight, conv.bias, strides)
    torch.testing.assert_close(ours, expected)
    ours.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(images.grad, theirs.grad)


@pytest.mark.parametrize("build", [name for name in TINY if name != "swin"])
@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "swin"])
def test_no_model_has_such_a_convolution(build, decoder):
    segmenter = build_segmenter(build_encoder(build, **TINY[build]), 2, decoder)
    convs = [module for module in segmenter.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)]
    assert all(conv.stride == (1, 1) or conv.in_channels >= NARROW for conv in convs)


def test_an_encoder_is_changed_when_it_is_built(monkeypatch):
    class Narrow(ENCODERS["unet"]):
        def __init__(self):
            super().__init__(4, 4)
            self.shortcut = nn.Conv2d(4, 8, 1, stride=2)

    monkeypatch.setitem(ENCODERS.data, "narrow", Narrow)
    assert build_encoder("narrow").shortcut.stride == (1, 1)


@pytest.mark.skipif(not CHECKED.exists(), reason="this system has no malloc that checks what is written behind a block")
def test_nothing_is_written_behind_a_gradient():
    checks = {"LD_PRELOAD": str(CHECKED), "GLIBC_TUNABLES": "glibc.malloc.check=3"}
    done = subprocess.run([sys.executable, "-c", CODE], env={**os.environ, **checks}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-300:])
