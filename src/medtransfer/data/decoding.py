"""Pixels of a picture's file, of a JPEG file without a copy in Pillow's own layout: the same values in less time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from medtransfer.data.source_folders import read_picture

JPEG = b"\xff\xd8\xff"
TURNING = (b"Exif\0", b"tiff:Orientation")  # only with one of these in its file may a picture not be upright
CMYK = 4  # channels


def read_pixels(path: Path) -> Tensor:
    """Read the pixels of a picture's file; see `decode_pixels`.

    Raises:
        InputError: the file is no readable picture of 8 bits per channel.
    """
    try:
        content = path.read_bytes()
    except OSError:
        content = b""  # `read_picture` says what is wrong
    return decode_pixels(content, lambda: read_picture(path))


def decode_pixels(content: bytes, read: Callable[[], Image.Image]) -> Tensor:
    """Decode the content of a picture's file to uint8 (H, W, 3).

    Args:
        content: bytes of the file.
        read: reads the same picture as RGB by Pillow, or says why it cannot be read. It reads what is no upright JPEG picture in
            grey or RGB, and what torchvision refuses, such as half a file.
    """
    if content.startswith(JPEG) and not any(word in content for word in TURNING):
        try:
            pixels = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.UNCHANGED)  # (C, H, W)
        except RuntimeError:
            pass
        else:
            if len(pixels) < CMYK:
                return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous()
    return torch.from_numpy(np.array(read()))
