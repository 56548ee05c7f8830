"""Batches of images of a prepared target: two jittered views with negatives (A.6), or plain images with labels."""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medtransfer.data.image_labels import read_labels, uncertain_rule
from medtransfer.data.jitter import JitterDraws, draw_jitter, jitter
from medtransfer.data.pixels import centre, normalise, per_channel, to_images
from medtransfer.data.windows import Windows
from medtransfer.records import IMAGE_TASKS, UNCERTAIN, PreparedTarget
from medtransfer.seeds import derive_seed


@dataclass(frozen=True)
class ViewBatch:
    """The views of B images and of e further negatives.

    Attributes:
        queries: float32 (B, C, H, W), the first views.
        keys: float32 (B + e, C, H, W), the second views: of the same images, then of negatives from outside the batch.
        negative: int64 (B,), the row of `keys` that is each query's negative; its positive is its own row.
        positions: int64 (B,), which images of the set these are.
    """

    queries: Tensor
    keys: Tensor
    negative: Tensor
    positions: Tensor


def select_images(groups: Sequence[str], max_images: int | None, seed: int) -> np.ndarray:
    """Choose images of a split evenly over its groups: none contributes a second image before each has contributed one.

    Args:
        groups: group of each image.
        max_images: how many images, None for all.
        seed: seed of the choice.

    Returns:
        int64 (n,), positions in the split, ascending; n = min(max_images, all).

    Raises:
        ValueError: max_images is below 1.
    """
    if max_images is not None and max_images < 1:
        raise ValueError(f"expected max_images of at least 1, but got {max_images}")
    shuffled = np.random.default_rng(derive_seed("images", seed)).permutation(len(groups))
    taken: dict[str, int] = {}
    turns = []
    for position in shuffled:
        turns.append(taken.get(groups[position], 0))
        taken[groups[position]] = turns[-1] + 1
    return np.sort(shuffled[np.argsort(turns, kind="stable")][:max_images])


class TwoViews:
    """Batches of two views of the images of a split; memory depends on the batch, not on the number of images.

    The views of an image depend on (seed, repeat) only, not on the batches or max_images.

    Attributes:
        ids: unique identifier of each image.
        groups: group of each image.
    """

    def __init__(
        self, target: PreparedTarget, split: str, *, mean: Sequence[float], std: Sequence[float], seed: int,
        max_images: int | None, size: tuple[int, int] | None = None, device: torch.device | str = "cpu",
    ) -> None:  # fmt: skip
        """Choose the images.

        Args:
            target: the prepared target; its arrays stay on disk.
            split: `train`, `validation` or `test`.
            mean: mean per colour channel, in [0, 1] units, of the checkpoint; see `per_channel`.
            std: standard deviation per channel, likewise.
            seed: seed of the choice and of the jitter.
            max_images: how many images the set has, None for all (see `select_images`).
            size: (height, width) to resize to, None for the target's input size.
            device: device on which the views are computed.

        Raises:
            InputError: the split is empty or broken.
            ValueError: max_images is below 1.
        """
        self._windows, self._target = Windows(target, split), target
        self._chosen = select_images(self._windows.groups, max_images, seed)
        self.ids = [self._windows.images[index] for index in self._chosen]
        self.groups = [self._windows.groups[index] for index in self._chosen]
        self._channels, self._seed = target.info.input_channels, seed
        self._mean, self._std = (per_channel(values, self._channels) for values in (mean, std))
        self._size, self._device = size or self._windows.size, torch.device(device)

    def __len__(self) -> int:
        """Count the images of the set."""
        return len(self._chosen)

    def batches(self, order: np.ndarray, negative: np.ndarray, batch_size: int, repeat: int) -> Iterator[ViewBatch]:
        """Iterate over images once.

        Args:
            order: (m,) in 0..n-1, all different: indices of the images, in this order.
            negative: (n,) in 0..n-1, the negative of each image of the set.
            batch_size: images per batch, without the negatives from other batches.
            repeat: index of the pair of views.

        Raises:
            ValueError: order or negative do not fit the set, an image is its own negative, or batch_size is below 1.
        """
        self._check(order, negative, batch_size)
        draws = tuple(draw_jitter(len(self._windows), self._seed, repeat, view, self._channels) for view in (0, 1))
        return self._walk(order, negative, batch_size, draws)

    def _walk(
        self, order: np.ndarray, negative: np.ndarray, batch_size: int, draws: tuple[JitterDraws, ...]
    ) -> Iterator[ViewBatch]:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            negatives = negative[batch]
            keys = np.concatenate([batch, np.setdiff1d(negatives, batch)])
            row = {position: number for number, position in enumerate(keys.tolist())}
            yield ViewBatch(
                queries=self._views(batch, draws[0]),
                keys=self._views(keys, draws[1]),
                negative=torch.tensor([row[position] for position in negatives.tolist()]),
                positions=torch.tensor(batch.tolist()),
            )

    def images(self, positions: np.ndarray) -> Tensor:
        """Return images without jitter, normalised, float32 (B, C, H, W)."""
        return self._normalised(self._read(positions))

    def labels(self, positions: np.ndarray) -> Tensor:
        """Return the labels of images on the CPU: uint8 (B, H, W) of the target's input size, or (B, 1, 1) of whole images.

        Of L independent labels of each image (B, L, 1, 1); uncertain ones are as in evaluations.
        """
        if self._target.info.task in IMAGE_TASKS:
            labels = read_labels(self._target)[self._windows.rows[self._chosen[positions]]]
            if labels.ndim == 2 and (labels == UNCERTAIN).any():
                labels[labels == UNCERTAIN] = uncertain_rule(self._target).evaluated
            return torch.from_numpy(labels[..., None, None])
        masks = np.stack([centre(self._windows.mask(row), self._windows.size) for row in self._chosen[positions]])
        _release(self._target.masks)
        return torch.from_numpy(masks)

    def _views(self, positions: np.ndarray, draws: JitterDraws) -> Tensor:
        return self._normalised(jitter(self._read(positions), draws[self._chosen[positions]]))

    def _read(self, positions: np.ndarray) -> Tensor:
        pixels = np.stack([centre(self._windows.image(row), self._windows.size) for row in self._chosen[positions]])
        _release(self._target.images)
        images = to_images(self._moved(torch.from_numpy(pixels)))  # (B, C, H, W)
        if self._size != self._windows.size:
            images = interpolate(images, self._size, mode="bilinear", antialias=True)
        return images

    def _normalised(self, images: Tensor) -> Tensor:
        images = normalise(images, self._mean, self._std)
        return images.contiguous(memory_format=torch.channels_last)  # makes convolutions on CPUs a third faster

    def _moved(self, pixels: Tensor) -> Tensor:
        if self._device.type == "cuda":  # asynchronous only from pinned memory
            return pixels.pin_memory().to(self._device, non_blocking=True)
        return pixels.to(self._device)

    def _check(self, order: np.ndarray, negative: np.ndarray, batch_size: int) -> None:
        known = np.arange(len(self))
        if batch_size < 1:
            raise ValueError(f"expected batches of at least 1 image, but got {batch_size}")
        if not np.isin(order, known).all() or len(np.unique(order)) != len(order):
            raise ValueError(f"expected an order of different images in 0..{len(self) - 1}, but got {order}")
        if negative.shape != known.shape or not np.isin(negative, known).all():
            raise ValueError(f"expected {len(self)} negatives in 0..{len(self) - 1}, but got {negative}")
        if (negative == known).any():
            raise ValueError(f"expected another image as a negative, but image {np.argmax(negative == known)} is its own")


def _release(array: np.ndarray) -> None:
    """Release the pages of a mapped array that were read, so that memory does not grow with the number of images."""
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)
