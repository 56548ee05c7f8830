"""Pixels of a picture's file, of a JPEG file without a copy in Pillow's own layout: the same values in less time."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from medtransfer.data.picture_folders import orientation
from medtransfer.data.source_folders import read_picture


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
    try:
        if _is_plain_jpeg(content):
            stored = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            return decode_jpeg(stored, ImageReadMode.RGB).permute(1, 2, 0)  # (3, H, W) to (H, W, 3), as in memory
    except Exception:  # decoders raise nearly any exception for a damaged picture
        return torch.from_numpy(np.array(read()))
    return torch.from_numpy(np.array(read()))


def _is_plain_jpeg(content: bytes) -> bool:
    """Return whether a file is a JPEG picture whose pixels are stored as they are shown; reads the header only."""
    with Image.open(io.BytesIO(content)) as file:
        return file.format == "JPEG" and file.mode in ("L", "RGB") and orientation(file) == 1
