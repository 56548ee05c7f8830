"""A prepared target and a pairing go in; batches of two jittered views an image, with negatives, come out (A.6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medtransfer.data.jitter import draw_jitter, jitter
from medtransfer.data.pixels import centre, normalise, rgb
from medtransfer.data.windows import Windows
from medtransfer.records import PreparedTarget
from medtransfer.runtime import derive_seed


@dataclass(frozen=True)
class ViewBatch:
    """The views of B images and of e further negatives.

    Attributes:
        queries: float32 (B, 3, H, W), the first views.
        keys: float32 (B + e, 3, H, W), the second views: of the same images, then of negatives outside of the batch.
        negative: int64 (B,), the row of `keys` that is each query's negative; its positive is its own row.
        positions: int64 (B,), which images of the set these are.
    """

    queries: Tensor
    keys: Tensor
    negative: Tensor
    positions: Tensor


def select_images(groups: Sequence[str], max_images: int | None, seed: int) -> np.ndarray:
    """Choose images of a split, spread over its groups: no group gives a second one before each has given one.

    Args:
        groups: a group an image.
        max_images: how many, None for all.
        seed: of the choice.

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

    What an image's views are depends on (seed, repeat) and the image alone, neither on the batches nor on max_images.

    Attributes:
        images: an identity an image of the set.
        groups: a group an image.
    """

    def __init__(
        self, target: PreparedTarget, split: str, *, mean: Sequence[float], std: Sequence[float],
        size: tuple[int, int] | None = None, max_images: int | None, seed: int, repeat: int, batch_size: int,
        order: np.ndarray, negative: np.ndarray, device: torch.device | str = "cpu",
    ) -> None:  # fmt: skip
        """Choose the images and check the pairing.

        Args:
            target: the prepared target; its arrays stay on disk.
            split: `train`, `validation` or `test`.
            mean: a channel, in [0, 1] units, from the checkpoint.
            std: like mean.
            size: (height, width) to resize to, None for the target's input size.
            max_images: how many images the set has, None for all (see `select_images`).
            seed: of the choice and of the jitter.
            repeat: which independent pair of views.
            batch_size: images a batch, negatives from outside not counted.
            order: (m,) in 0..n-1, all different: the images of the set as they are walked through.
            negative: (n,) the negative of each image of the set.
            device: where the views are computed.

        Raises:
            InputError: the split is empty or broken.
            ValueError: order or negative do not fit the set of n images, or an image is its own negative.
        """
        self._windows = Windows(target, split)
        self._chosen = select_images(self._windows.groups, max_images, seed)
        self.images = [self._windows.images[place] for place in self._chosen]
        self.groups = [self._windows.groups[place] for place in self._chosen]
        self._mean, self._std, self._size, self._device = tuple(mean), tuple(std), size, torch.device(device)
        self._batch_size, self._order, self._negative = batch_size, np.asarray(order), np.asarray(negative)
        self._draws = [draw_jitter(len(self._windows), seed, repeat, view) for view in (0, 1)]
        self._check()

    def __len__(self) -> int:
        """Count the batches."""
        return -(-len(self._order) // self._batch_size)

    def __iter__(self) -> Iterator[ViewBatch]:
        """Walk through the images once."""
        for start in range(0, len(self._order), self._batch_size):
            batch = self._order[start : start + self._batch_size]
            wanted = self._negative[batch]
            keys = np.concatenate([batch, np.setdiff1d(wanted, batch)])
            row = {position: number for number, position in enumerate(keys.tolist())}
            yield ViewBatch(
                queries=self._views(batch, 0),
                keys=self._views(keys, 1),
                negative=torch.tensor([row[position] for position in wanted.tolist()]),
                positions=torch.as_tensor(batch.copy()).long(),
            )

    def _views(self, positions: np.ndarray, view: int) -> Tensor:
        places = self._chosen[positions]
        pixels = np.stack([centre(self._windows.image(place), self._windows.size) for place in places])
        images = rgb(torch.from_numpy(pixels).to(self._device))  # (B, 3, H, W)
        if self._size is not None and self._size != self._windows.size:
            images = interpolate(images, self._size, mode="bilinear", antialias=True)
        return normalise(jitter(images, self._draws[view][places]), self._mean, self._std)

    def _check(self) -> None:
        count = len(self._chosen)
        if self._batch_size < 1:
            raise ValueError(f"expected batch_size of at least 1, but got {self._batch_size}")
        if not np.isin(self._order, np.arange(count)).all() or len(np.unique(self._order)) != len(self._order):
            raise ValueError(f"expected an order of different images in 0..{count - 1}, but got {self._order}")
        if self._negative.shape != (count,) or not np.isin(self._negative, np.arange(count)).all():
            raise ValueError(f"expected {count} negatives in 0..{count - 1}, but got {self._negative}")
        if (self._negative == np.arange(count)).any():
            raise ValueError("expected every negative to be another image, but an image is its own negative")
