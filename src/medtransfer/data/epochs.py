"""Datasets whose random numbers depend only on (seed, epoch, index)."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from medtransfer.seeds import derive_seed

Item = TypeVar("Item", covariant=True)


class EpochDataset(Dataset[Item]):
    """A dataset whose random numbers depend only on (seed, epoch, index), for any number of workers.

    The epoch is in shared memory, so that persistent worker processes see its changes.
    """

    def __init__(self, seed: int) -> None:
        """Start at epoch 0."""
        self._seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next items; call it before each pass over the data."""
        self._epoch.fill_(epoch)

    def item_seed(self, index: int) -> int:
        """Return the 63-bit seed of an item in the current epoch."""
        return derive_seed("item", self._seed, int(self._epoch), index)


class Samples(EpochDataset[tuple[Tensor, Any, int]]):
    """The samples of one split of a target: item i is (pixels (H, W, C), labels, i), not normalised yet.

    Attributes:
        images: an identifier of each sample, for evaluation by image.
        groups: the group of each sample, for evaluation by patient.
        mean: mean of the normalisation, per channel, in [0, 1] units; see `normalise_pixels`.
        std: standard deviation of the normalisation, likewise.
        pixel_sizes: (height, width) of a pixel of each sample by its identifier, mm; empty unless all are known.
        regions: class numbers of each region of the target by its name; empty if it has none.
    """

    images: list[str]
    groups: list[str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixel_sizes: Mapping[str, tuple[float, float]] = {}
    regions: Mapping[str, Sequence[int]] = {}

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.images)
