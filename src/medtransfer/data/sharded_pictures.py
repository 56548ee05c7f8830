"""Pictures in the shards of a split, decoded."""

import io

from PIL import Image
from torch import Tensor

from medtransfer.data.decoding import decode_pixels
from medtransfer.data.shards import ShardedSplit, ShardReader
from medtransfer.data.source_folders import read_picture


class ShardedPictures:
    """The pictures of a split, in the order of their names; see `resampling.Pictures`."""

    def __init__(self, split: ShardedSplit) -> None:
        self._reader = ShardReader(split)

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._reader.split.names)

    def picture(self, index: int) -> Image.Image:
        """Read a picture; an unreadable one is an InputError."""
        return self._decode(self._reader.read(index), index)

    def pixels(self, index: int) -> Tensor:
        """Read the pixels of a picture; an unreadable one is an InputError."""
        content = self._reader.read(index)
        return decode_pixels(content, lambda: self._decode(content, index))

    def _decode(self, content: bytes, index: int) -> Image.Image:
        return read_picture(io.BytesIO(content), self._reader.name(index))
