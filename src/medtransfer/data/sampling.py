"""A number of images, a seed and an epoch go in; the micro-batches of every device, in their order, come out."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from medtransfer.errors import InputError
from medtransfer.runtime import derive_seed


class EpochSampler(Sampler[list[int]]):
    """Micro-batches of one epoch; the images of an optimiser step are the same for any number of devices.

    Attributes:
        sizes: images of each optimiser step, over all devices.
        pieces: micro-batches of each optimiser step on this device.
    """

    def __init__(
        self, length: int, *, batch_size: int, micro_batch: int | None = None, seed: int, shuffle: bool,
        drop_last: bool, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        """Lay out the steps.

        Args:
            length: images in the set.
            batch_size: images an optimiser step, over all devices.
            micro_batch: images a forward pass on one device at most; None for all of the device's share.
            seed: with the epoch, all that the order depends on.
            shuffle: whether epochs have an order of their own; otherwise 0, 1, 2, ...
            drop_last: whether a last, incomplete step is left out; a set smaller than one step is kept.
            rank: this device.
            world: devices.

        Raises:
            ValueError: a size is below 1, or a step of a shuffled epoch has fewer images than there are devices.
        """
        if min(length, batch_size, batch_size if micro_batch is None else micro_batch) < 1 or not 0 <= rank < world:
            raise ValueError(
                f"expected sizes of at least 1 and a rank below {world}, but got length {length}, "
                f"batch_size {batch_size}, micro_batch {micro_batch} and rank {rank}"
            )
        whole, rest = divmod(length, batch_size)
        self.sizes = [batch_size] * whole + ([rest] if rest and not (drop_last and whole) else [])
        if shuffle and self.sizes[-1] < world:
            raise ValueError(f"expected an image a device in each step, but a step has {self.sizes[-1]} for {world}")
        self._length, self._seed, self._shuffle, self._epoch = length, seed, shuffle, 0
        self._rank, self._world = rank, world
        most = -(-batch_size // world) if micro_batch is None else micro_batch
        passes = -(-batch_size // (world * most))
        shares = [len(range(rank, size, world)) for size in self.sizes]
        self.pieces = [min(share, passes) for share in shares]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is walked next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Count this device's micro-batches of an epoch."""
        return sum(self.pieces)

    def __iter__(self) -> Iterator[list[int]]:
        """Walk through the epoch; the micro-batches of a step differ by one image at most."""
        order, start = self._order(), 0
        for size, pieces in zip(self.sizes, self.pieces, strict=True):
            share = order[start : start + size][self._rank :: self._world]
            if pieces:
                yield from (piece.tolist() for piece in np.array_split(share, pieces))
            start += size

    def _order(self) -> np.ndarray:
        if not self._shuffle:
            return np.arange(self._length)
        return np.random.default_rng(derive_seed("order", self._seed, self._epoch)).permutation(self._length)


def worker_init(worker: int) -> None:
    """Keep a worker process to one thread: the workers are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class _Loader(DataLoader[Any]):
    """A DataLoader that passes a user's error on as its sentence, without the worker's traceback."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        try:
            yield from super().__iter__()
        except InputError as fault:
            raise InputError(str(fault).rsplit("InputError: ", 1)[-1].strip()) from None


def loader(dataset: Dataset[Any], batches: Sampler[list[int]], workers: int, pin: bool) -> DataLoader[Any]:
    """Build the loader of a dataset; it takes nothing from the global random state.

    Args:
        dataset: random only through its own seeds.
        batches: indices of each batch.
        workers: processes, 0 for none; they live on from epoch to epoch.
        pin: whether batches lie in pinned memory, for copies to a GPU.
    """
    return _Loader(
        dataset, batch_sampler=batches, num_workers=workers, pin_memory=pin, worker_init_fn=worker_init,
        generator=torch.Generator(), persistent_workers=workers > 0,
    )  # fmt: skip
