"""An encoder and a prepared target go in; the per-image distances of every setting come out, from one streamed pass."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer.data.views import TwoViews, ViewBatch
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.distances import DISTANCES
from medtransfer.indicators.robustness.negatives import NegativePlan, negatives
from medtransfer.indicators.robustness.streamed import Reading
from medtransfer.indicators.robustness.triplet import robustness_curve
from medtransfer.progress import track
from medtransfer.records import PreparedTarget
from medtransfer.seeds import derive_seed
from medtransfer.training.memory import keep_freed_memory

Setting = tuple[str, int, bool]  # distance, level counted from the end (-1 is the last), pooled


@dataclass(frozen=True)
class ViewSettings:
    """Which pairs of views are compared: everything that the distances depend on, but the encoder and the images."""

    split: str
    max_images: int | None
    seed: int
    repeats: int
    negative: str


@dataclass
class Pairs:
    """Distances of every image to its second view and to its negative's.

    Attributes:
        d_pos: by setting, float32 (repeats, images).
        d_neg: likewise.
        images: ids, in the order of the columns.
        counts: pairs a (level, pooled) whose distance had to be defined: `nonfinite`, `zero`, `constant`.
        notes: what a reader should know.
    """

    d_pos: dict[Setting, NDArray[np.float32]]
    d_neg: dict[Setting, NDArray[np.float32]]
    images: list[str]
    counts: dict[tuple[int, bool], dict[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def robustness(self, distance: str, level: int, pooled: bool, margin: float) -> float:
        """Give the robustness of one setting (Eq. 3).

        Raises:
            ValueError: the setting was not measured.
        """
        setting = (distance, level, pooled)
        if setting not in self.d_pos:
            levels = sorted({known[1] for known in self.d_pos})
            raise ValueError(
                f"expected a distance out of {', '.join(DISTANCES)} and a level out of {levels}, but got {distance!r} and {level}"
            )
        return robustness_curve(self.d_pos[setting], self.d_neg[setting], [margin])[0].value


@torch.no_grad()
def measure_pairs(
    encoder: Encoder, target: PreparedTarget, settings: ViewSettings, contract: dict[str, Any], batch_size: int,
    device: torch.device, autocast: Callable[[], AbstractContextManager[Any]], label: str,
) -> Pairs:  # fmt: skip
    """Measure all distances at every level, pooled and flattened; memory does not grow with the number of images.

    Args:
        encoder: put into eval mode here, so batch norm and stochastic depth stand still.
        target: its images are jittered (Algorithm 3) and normalised.
        settings: which pairs.
        contract: `mean` and `std` a channel, from the checkpoint.
        batch_size: images a forward pass has two views of.
        device: that the encoder is moved to.
        autocast: gives the context of the forward pass.
        label: of the progress line.
    """
    if device.type == "cpu":
        keep_freed_memory()
    encoder = encoder.to(device).eval()
    views = TwoViews(
        target, settings.split, mean=contract["mean"], std=contract["std"], seed=settings.seed,
        max_images=settings.max_images, device=device,
    )  # fmt: skip
    if (images := len(views)) < 2:
        raise InputError(
            f"expected at least 2 images of the split {settings.split!r} in {target.folder}, since a negative is another "
            f"image, but got {images}; choose another split"
        )
    plan = negatives(images, settings.negative, derive_seed(settings.seed, "negatives"))
    steps = -(-images // batch_size)
    repeats = (
        track(views.batches(plan.order, plan.negative, batch_size, repeat), label, steps, "batch")
        for repeat in range(settings.repeats)
    )
    pairs = pairs_of(encoder, repeats, settings.repeats, views.ids, autocast)
    pairs.notes += _notes(plan)
    return pairs


@torch.no_grad()
def pairs_of(
    encoder: Encoder, repeats: Iterable[Iterable[ViewBatch]], count: int, images: list[str],
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Pairs:  # fmt: skip
    """Encode views and measure their pairs; arguments as in `measure_pairs`.

    Args:
        encoder: in eval mode, on the device of the views.
        repeats: for each of the independent pairs of views the batches of all images.
        count: how many repeats there are.
        images: ids of the images.
        autocast: gives the context of the forward pass.
    """
    tables = _Tables(count, len(images))
    for repeat, batches in enumerate(repeats):
        for found in _batch_distances(encoder, batches, autocast):
            tables.store(repeat, *found)
    return tables.pairs(images)


def _batch_distances(
    encoder: Encoder, batches: Iterable[ViewBatch], autocast: Callable[[], AbstractContextManager[Any]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], list[dict[str, int]]]]:
    """Give the positions of each batch's images and what `Reading.collect` gives of them."""
    coming = iter(batches)
    batch = next(coming, None)
    while batch is not None:
        with autocast():
            queries, keys = encoder(batch.queries), encoder(batch.keys)
        reading = Reading(queries, keys, batch.negative)
        following = next(coming, None)  # made before this batch is waited for, so that a GPU always has work
        found = reading.collect()
        del reading, queries, keys  # the next maps can take their place in memory
        yield batch.positions.numpy(), *found
        batch = following


class _Tables:
    """Where the distances of all batches are gathered."""

    def __init__(self, repeats: int, images: int) -> None:
        self._shape = (repeats, images)
        self._values = np.empty(0, dtype=np.float32)  # (names, settings, 2, repeats, images) from the first batch on
        self._counts: list[dict[str, int]] = []

    def store(
        self, repeat: int, positions: NDArray[np.int64], distances: NDArray[np.float64], counts: list[dict[str, int]]
    ) -> None:
        """Put in what `Reading.collect` gives."""
        if not self._counts:
            self._values = np.full((*distances.shape[:3], *self._shape), np.nan, dtype=np.float32)
            self._counts = [dict.fromkeys(found, 0) for found in counts]
        self._values[..., repeat, positions] = distances
        for total, found in zip(self._counts, counts, strict=True):
            total.update({name: total[name] + number for name, number in found.items()})

    def pairs(self, images: list[str]) -> Pairs:
        """Name what was gathered."""
        count = len(self._counts)
        keys = [(setting // 2 - count // 2, setting % 2 == 1) for setting in range(count)]
        d_pos, d_neg = (
            {
                (name, *keys[setting]): self._values[row, setting, side]
                for setting in range(count)
                for row, name in enumerate(DISTANCES)
            }
            for side in (0, 1)
        )
        return Pairs(d_pos, d_neg, images, dict(zip(keys, self._counts, strict=True)))


def _notes(plan: NegativePlan) -> list[str]:
    if plan.repaired is None:
        return []
    return [f"image {plan.repaired} would be its own negative in an odd list; it is compared with its neighbour"]
