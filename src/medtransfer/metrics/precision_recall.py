"""Average precision (area under the precision-recall curve) of each class and region, accumulated in batches."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.metrics.overlap import list_unions
from medtransfer.records import IGNORE

MOST_PARTS = 256  # tensors of uncounted pixels
LOW, HIGH = -88.0, 17.0  # logits of the smallest normal float32 and, rounded up, of the largest one below 1


class AveragePrecision:
    """Average precision of each class over the pixels of all images, from histograms of fixed size.

    The probability of a region is the sum of those of its classes, which exclude each other.

    The bins are equally wide in the logit, not in the probability, since trained networks put most pixels very near
    0 and 1. The result is exact if different probabilities fall into different bins; those in one bin count as equal.
    """

    def __init__(self, classes: int, bins: int = 2**18, regions: Sequence[Sequence[int]] = ()) -> None:
        """Create empty histograms for the classes 1..classes, and for regions, each of which lists classes."""
        self.classes, self.bins = classes, bins
        self._unions = list_unions(classes, regions)
        shape = (len(self._unions), 2, bins)  # (class or region, negative or positive, bin)
        # On the device of the probabilities from the first batch on; NumPy's zeros take memory only where they are written to.
        self._counts = torch.from_numpy(np.zeros(shape, np.int64))
        self._highest = torch.zeros(len(self._unions))
        self._uncounted: list[list[Tensor]] = [[] for _ in self._unions]  # cells of fewer pixels than a histogram has bins
        self._is_counted = False  # whether the histograms hold any pixel

    @property
    def grid(self) -> NDArray[np.float64]:
        """Probability at the middle of each bin, (bins,)."""
        return torch.sigmoid(torch.linspace(LOW, HIGH, self.bins, dtype=torch.float64)).numpy()

    def update(self, probabilities: Tensor, truth: Tensor) -> None:
        """Count the pixels of a batch.

        Args:
            probabilities: probabilities of the classes 1..classes, in [0, 1], (N, classes, H, W).
            truth: labels 0..classes, or IGNORE, whose pixels are not counted, (N, H, W).

        Raises:
            ValueError: the shapes do not match, or probabilities are outside [0, 1] or NaN.
        """
        n, *space = truth.shape
        if tuple(probabilities.shape) != (n, self.classes, *space):
            raise ValueError(
                f"expected probabilities (N, {self.classes}, H, W) for truth {tuple(truth.shape)}, but got "
                f"{tuple(probabilities.shape)}"
            )
        if not bool((probabilities.amin() >= 0) & (probabilities.amax() <= 1)):  # both are NaN if a value is
            raise ValueError("expected probabilities in [0, 1], but some are NaN or outside")
        self._counts, self._highest = self._counts.to(truth.device), self._highest.to(truth.device)
        one_by_one = truth.device.type == "cpu"  # an image fits in the cache
        parts = [*zip(probabilities, truth, strict=True)] if one_by_one else [(probabilities.movedim(0, 1), truth)]
        if bool((truth == IGNORE).any()):
            parts = [(image[:, mask != IGNORE], mask[mask != IGNORE]) for image, mask in parts]
        for index, labels in enumerate(self._unions):
            cells = [self._cells(index, labels, image, mask) for image, mask in parts if mask.numel()]
            uncounted = self._uncounted[index]
            uncounted += cells
            if len(uncounted) > MOST_PARTS:
                uncounted[:] = [torch.cat(uncounted)]
            if sum(map(len, uncounted)) >= 2 * self.bins:
                self._count(index)

    def _count(self, index: int) -> None:
        """Count the pixels of a class or region that were not yet; however few, it takes as long as a histogram has bins."""
        if self._uncounted[index]:
            cells = torch.cat(self._uncounted[index])
            self._counts[index] += torch.bincount(cells, minlength=2 * self.bins).view(2, self.bins)
            self._uncounted[index], self._is_counted = [], True

    def _count_all(self) -> NDArray[np.int64]:
        """Count all pixels, and return the histograms."""
        for index in range(len(self._unions)):
            self._count(index)
        counts: NDArray[np.int64] = self._counts.cpu().numpy()
        return counts

    def _cells(self, index: int, labels: Sequence[int], probabilities: Tensor, truth: Tensor) -> Tensor:
        """Return the bin of each pixel in the histograms of a class or region: (classes, ...) and (...) -> int32 (pixels,)."""
        probability, positive = probabilities[labels[0] - 1], truth == labels[0]
        for label in labels[1:]:
            probability, positive = probability + probabilities[label - 1], positive | (truth == label)
        wide = probability.to(torch.promote_types(probability.dtype, torch.float32)).clamp(max=1)
        self._highest[index] = torch.maximum(self._highest[index], wide.amax())
        share = wide.logit_().clamp_(LOW, HIGH).sub_(LOW).div_(HIGH - LOW)  # in [0, 1]
        return share.mul_(self.bins - 1).round_().to(torch.int32).add_(positive, alpha=self.bins).flatten()

    def state(self) -> dict[str, NDArray]:
        """Return what was counted, for `merge`: the filled bins alone."""
        if self._is_counted:
            counts = self._count_all()
            filled = np.flatnonzero(counts)
            in_bins = counts.ravel()[filled]
        else:  # of few pixels, without a look at every bin
            cells = [cell.cpu().numpy() + 2 * self.bins * i for i, some in enumerate(self._uncounted) for cell in some]
            filled, in_bins = np.unique(np.concatenate([np.zeros(0, np.int64), *cells]), return_counts=True)
        return {"bins": filled, "in_bins": in_bins, "highest": self._highest.cpu().double().numpy()}

    def merge(self, state: Mapping[str, NDArray]) -> None:
        """Add what another one of as many classes and bins has counted.

        Raises:
            ValueError: it has counted other classes or bins.
        """
        filled, highest = state["bins"], state["highest"]
        if highest.shape != self._highest.shape or (len(filled) and not 0 <= filled.min() <= filled.max() < self._counts.numel()):
            raise ValueError(f"expected counts of {len(self._unions)} classes and regions in {self.bins} bins, but got others")
        counts = self._count_all()
        counts.reshape(-1)[filled] += state["in_bins"]
        self._counts, self._is_counted = torch.from_numpy(counts), True
        self._highest = torch.maximum(self._highest.cpu(), torch.from_numpy(highest).float())

    def compute(self) -> NDArray[np.float64]:
        """Compute the average precision of each class and region, (classes + regions,).

        `counts.py` has the rule for a class that is never true.

        Source: sum over thresholds of (recall_k - recall_{k-1}) precision_k, without interpolation.
        """
        never_true = np.where(self._highest.cpu().numpy() > 0.5, 0.0, 1.0)
        # One after the other: copies of the histograms of 150 classes would take 2 GB.
        areas = zip(map(_area, self._count_all()), never_true, strict=True)
        return np.array([otherwise if area is None else area for area, otherwise in areas])


def _area(counts: NDArray[np.int64]) -> float | None:
    """Return the average precision of counts (negative or positive, bin); None without positives."""
    negative, positive = counts[:, ::-1]  # from the highest probability down
    hits, misses = positive.cumsum(), negative.cumsum()
    if not hits[-1]:
        return None
    precision = hits / np.maximum(hits + misses, 1)
    return float((positive * precision).sum() / hits[-1])
