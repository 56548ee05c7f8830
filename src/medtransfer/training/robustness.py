"""An encoder and a prepared target go in; the per-image distances of every setting come out, from one streamed pass."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer.data.views import TwoViews, ViewBatch
from medtransfer.errors import InputError
from medtransfer.metrics.distances import DISTANCES, pair_distances
from medtransfer.metrics.robustness import NegativePlan, negatives, pool, robustness_curve
from medtransfer.models.encoder import Encoder
from medtransfer.progress import track
from medtransfer.records import PreparedTarget
from medtransfer.runtime import derive_seed

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
    pairs = Pairs({}, {}, views.ids, notes=_notes(plan))
    for repeat in range(settings.repeats):
        batches = views.batches(plan.order, plan.negative, batch_size, repeat)
        for batch in track(batches, label, -(-images // batch_size), "batch"):
            with autocast():
                levels = encoder(torch.cat([batch.queries, batch.keys]))
            for number, features in enumerate(levels):
                for pooled in (False, True):
                    place = _Place((number - len(levels), pooled), repeat, settings.repeats, images)
                    place.store(pairs, batch, pool(features, pooled))
    return pairs


@dataclass(frozen=True)
class _Place:
    """Where a batch's distances at one level and pooling belong."""

    key: tuple[int, bool]
    repeat: int
    repeats: int
    images: int

    def store(self, pairs: Pairs, batch: ViewBatch, vectors: torch.Tensor) -> None:
        count = len(batch.queries)
        queries, keys = vectors[:count], vectors[count:]
        opposites = ((pairs.d_pos, keys[:count]), (pairs.d_neg, keys[batch.negative.to(keys.device)]))
        total = pairs.counts.setdefault(self.key, {})
        for table, others in opposites:
            distances, counts = pair_distances(queries, others)
            for name, values in distances.items():
                empty = np.full((self.repeats, self.images), np.nan, dtype=np.float32)
                column = table.setdefault((name, *self.key), empty)
                column[self.repeat, batch.positions.numpy()] = values.float().cpu().numpy()
            for name, number in counts.items():
                total[name] = total.get(name, 0) + number


def _notes(plan: NegativePlan) -> list[str]:
    if plan.repaired is None:
        return []
    return [f"image {plan.repaired} would be its own negative in an odd list; it is compared with its neighbour"]
