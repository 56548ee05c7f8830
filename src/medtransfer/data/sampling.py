"""Batch sampler of an epoch for one or more devices, the DataLoader over it, and the epochs of a training."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from medtransfer.data.epochs import EpochDataset
from medtransfer.errors import InputError
from medtransfer.seeds import derive_seed


class EpochBatches(Sampler[list[int]]):
    """Batches of one device in one epoch; the images of a step do not depend on the number of devices.

    The order depends only on (seed, epoch). Each step takes the next batch_size * world images of it, so fewer devices with
    larger batches, or with more batches per optimiser step, see the same images.
    """

    def __init__(
        self, length: int, batch_size: int, *, seed: int, shuffle: bool, drop_last: bool, rank: int = 0, world: int = 1,
        join_last_image: bool = False,
    ) -> None:  # fmt: skip
        """Divide the epoch into steps.

        Args:
            length: number of images in the set.
            batch_size: images per batch on one device.
            seed: seed of the order.
            shuffle: whether each epoch has a random order; otherwise 0, 1, 2, ...
            drop_last: whether to drop a last, incomplete step; a set smaller than one step is kept.
            rank: index of this device.
            world: number of devices.
            join_last_image: whether a single image that is left over joins the step before, on one device.

        Raises:
            ValueError: a size is below 1, the rank is not below `world`, or the set has fewer images than devices.
        """
        if batch_size < 1 or not 0 <= rank < world or length < world:
            raise ValueError(
                f"expected batches of at least 1, a rank below {world} and at least {world} images, but got "
                f"{batch_size}, {rank} and {length}"
            )
        self._length, self._seed, self._shuffle, self._epoch = length, seed, shuffle, 0
        self._rank, self._world, self._step = rank, world, batch_size * world
        self._joined = int(join_last_image and length > self._step and length % self._step == 1)
        self._end = length - length % self._step if drop_last and length >= self._step else length

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order is used next."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Count this device's batches per epoch; without `drop_last` other devices may have one more."""
        whole, rest = divmod(self._end - self._joined, self._step)
        return whole + (rest > self._rank)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch."""
        order = self._order()[: self._end]
        for number in range(len(self)):
            joined = self._joined if number == len(self) - 1 else 0
            step = order[number * self._step : (number + 1) * self._step + joined]
            yield step[self._rank :: self._world].tolist()

    def _order(self) -> np.ndarray:
        if not self._shuffle:
            return np.arange(self._length)
        return np.random.default_rng(derive_seed("order", self._seed, self._epoch)).permutation(self._length)


def worker_init(worker: int) -> None:
    """Limit a worker process to one thread, since the workers run in parallel."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class _Loader(DataLoader[Any]):
    """A DataLoader whose workers end when one of them raises an error, an InputError without the worker's traceback."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return _batches(super().__iter__(), self.num_workers)


def _batches(batches: Iterator[Any], workers: int) -> Iterator[Any]:
    try:
        yield from batches
    except Exception as error:
        if workers:
            # A frame of PyTorch refers to the error: the cycle would keep the workers until Python looks for garbage.
            error.with_traceback(None)  # the message holds the worker's
        if isinstance(error, InputError):
            raise InputError(str(error).rsplit("InputError: ", 1)[-1].strip()) from None
        raise


def loader(dataset: Dataset[Any], batches: Sampler[list[int]], workers: int, pin: bool) -> DataLoader[Any]:
    """Build the DataLoader of a dataset; it does not use the global random state.

    Args:
        dataset: dataset whose randomness comes from its own seeds.
        batches: indices of each batch.
        workers: number of processes, 0 for none; they persist from epoch to epoch.
        pin: whether to pin the batches' memory, for copies to a GPU.
    """
    return _Loader(
        dataset, batch_sampler=batches, num_workers=workers, pin_memory=pin, worker_init_fn=worker_init,
        generator=torch.Generator(), persistent_workers=workers > 0,
    )  # fmt: skip


class Epochs:
    """Batches of a training, epoch by epoch.

    Worker processes begin with an epoch as soon as the last batch of the one before is taken, so that its first batches are made
    while that one is evaluated and saved.
    """

    def __init__(
        self, dataset: EpochDataset[Any], sampler: EpochBatches, workers: int, pin: bool, *, last: int, count: int | None = None
    ) -> None:  # fmt: skip
        """Build the loader.

        Args:
            dataset: dataset whose epoch nothing else sets.
            sampler: batches of this device.
            workers: as in `loader`.
            pin: as in `loader`.
            last: the last epoch.
            count: batches per epoch, at most those of the sampler; None: all.
        """
        self._dataset, self._sampler, self._last = dataset, sampler, last
        self._count = len(sampler) if count is None else min(count, len(sampler))
        self._first = _First(sampler, self._count)
        self._loader = loader(dataset, self._first, workers, pin)
        self._begun: tuple[int, Iterator[Any]] | None = None

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return self._count

    def batches(self, epoch: int, done: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch; at the last one the workers, if there are any, begin with the next epoch.

        Args:
            epoch: the epoch.
            done: number of its first batches to leave out.
        """
        begun, self._begun = self._begun, None
        batches = begun[1] if begun is not None and begun[0] == epoch and not done else self._begin(epoch, done)
        for number, batch in enumerate(islice(batches, self._count - done), start=done + 1):
            if number == self._count and epoch < self._last and self._loader.num_workers:
                self._begun = epoch + 1, self._begin(epoch + 1)
            yield batch

    def _begin(self, epoch: int, done: int = 0) -> Iterator[Any]:
        self._dataset.set_epoch(epoch)
        self._sampler.set_epoch(epoch)
        self._first.done = done
        return iter(self._loader)


class _First(Sampler[list[int]]):
    """The first batches of a sampler, without those that are done.

    Attributes:
        done: number of batches that the next pass leaves out.
    """

    def __init__(self, sampler: EpochBatches, count: int) -> None:
        self._sampler, self._count, self.done = sampler, count, 0

    def __len__(self) -> int:
        """Count the batches."""
        return self._count - self.done

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch."""
        return islice(self._sampler, self.done, self._count)
