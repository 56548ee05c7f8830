"""A seed, an epoch and an index go in; the seed of one item comes out, the same in every worker process."""

from typing import TypeVar

import torch
from torch.utils.data import Dataset

from medtransfer.seeds import derive_seed

Item = TypeVar("Item", covariant=True)


class EpochDataset(Dataset[Item]):
    """A dataset whose random numbers depend on (seed, epoch, index) alone, for any number of workers.

    The epoch lies in shared memory: worker processes that outlive an epoch see the next one too.
    """

    def __init__(self, seed: int) -> None:
        """Start at epoch 0."""
        self._seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next items belong to; call it between two passes over the data."""
        self._epoch.fill_(epoch)

    def item_seed(self, index: int) -> int:
        """Give the 63-bit seed of an item in the current epoch."""
        return derive_seed("item", self._seed, int(self._epoch), index)
