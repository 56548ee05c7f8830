"""Every segmentation metric of a test set, from a stream of probabilities and true masks.

Names of a metric `m`: `m`, counts pooled over the test set, mean over the non-background classes; `m_class_<c>`, that of
class c = 1..classes; `m_per_image` and `m_per_patient` (Dice and Jaccard), counts pooled inside each image or patient, then
the mean over images or patients, the latter where any patient has several images. `hd95` is the mean over images, in pixels; where
the size of the pixels is known, `hd95_mm` is the same in mm. Where regions are named, unions of classes that may overlap,
`m_region_<r>` is that of the r-th, and every mean is over the regions instead of the classes; the mask of a region is the union of
the masks of its classes.

Each row per sample has Dice and HD95, their values by class, and the pixels `tp_class_<c>`, `fp_class_<c>`, `fn_class_<c>`,
`tn_class_<c>`, of regions likewise; with a single class also `tp`, `fp`, `fn` and `tn`, as `dice` is `dice_class_1` then.

Pixels whose true label is IGNORE are in no count; for HD95 they are background in both masks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.metrics.counts import OVERLAP, Counts
from medtransfer.metrics.evaluation import Evaluation
from medtransfer.metrics.overlap import confusion, list_unions, most_probable
from medtransfer.metrics.precision_recall import AveragePrecision
from medtransfer.metrics.surface import hd95
from medtransfer.records import IGNORE

THRESHOLD = 0.5
PER_CASE = ("dice", "jaccard")
CELLS = ("tp", "fp", "fn", "tn")  # of the confusion matrix, in pixels


@dataclass
class _Seen:
    """Numbers per image of all batches so far; no masks."""

    images: dict[str, str] = field(default_factory=dict)  # image -> group
    counts: list[Counts] = field(default_factory=list)
    distances: list[NDArray[np.float64]] = field(default_factory=list)  # (N, classes + regions) of each batch, pixels
    lengths: list[NDArray[np.float64]] = field(default_factory=list)  # the same in mm


class SegmentationEvaluation:
    """Evaluation of a stream of predictions; its memory does not hold masks."""

    def __init__(
        self, classes: int, class_names: Sequence[str], pixel_sizes: Mapping[str, tuple[float, float]] | None = None,
        regions: Mapping[str, Sequence[int]] | None = None, *, light: bool = False,
    ) -> None:  # fmt: skip
        """Start empty.

        Args:
            classes: number of non-background classes.
            class_names: their names, for errors; label c is class_names[c - 1].
            pixel_sizes: (height, width) of a pixel of each image by its identifier, mm; None or empty if unknown.
            regions: labels of the classes of each region by its name; None or empty: there are none.
            light: whether to leave out what takes most of the time, average precision and HD95.

        Raises:
            ValueError: there is not one name per class, or a region lists other labels than 1..classes.
        """
        if classes < 1 or len(class_names) != classes:
            raise ValueError(f"expected one name for each of {classes} classes, but got {list(class_names)}")
        self.classes, self.class_names, self.light = classes, tuple(class_names), light
        self._regions = [sorted(labels) for labels in (regions or {}).values()]
        if wrong := [labels for labels in self._regions if not labels or not set(labels) <= set(range(1, classes + 1))]:
            raise ValueError(f"expected regions of the labels 1..{classes}, but got {wrong[0]}")
        self._unions = list_unions(classes, self._regions)
        self._columns = [f"class_{c + 1}" for c in range(classes)] + [f"region_{r + 1}" for r in range(len(self._regions))]
        self._averaged = slice(classes if self._regions else 0, None)  # of the columns
        self._pixel_sizes = pixel_sizes or {}
        self._seen = _Seen()
        self._average_precision = AveragePrecision(classes, regions=self._regions)

    def update(self, probabilities: Tensor, truth: Tensor, images: Sequence[str], groups: Sequence[str]) -> None:
        """Add a batch.

        Args:
            probabilities: (N, 1, H, W) after a sigmoid for one class, positive above 0.5; else (N, classes + 1, H, W)
                after a softmax, background first, the highest wins.
            truth: labels 0..classes, or IGNORE, uint8 (N, H, W).
            images: unique identifier of each sample, also across batches.
            groups: the patient of each sample.

        Raises:
            ValueError: wrong shapes, unknown labels, NaN or probabilities outside [0, 1], or a repeated image.
        """
        self._check(probabilities, truth, images, groups)
        truth = truth.to(probabilities.device)
        labels = (probabilities[:, 0] > THRESHOLD).to(torch.uint8) if self.classes == 1 else most_probable(probabilities)
        counts = confusion(labels, truth, self.classes, self._regions)
        if not self.light:
            self._measure(probabilities, labels, truth, counts, images)
        self._seen.counts.append(counts)
        self._seen.images.update(zip(images, groups, strict=True))

    def _measure(self, probabilities: Tensor, prediction: Tensor, truth: Tensor, counts: Counts, images: Sequence[str]) -> None:
        """Add what more than counts is needed for: average precision and distances."""
        self._average_precision.update(probabilities if self.classes == 1 else probabilities[:, 1:], truth)
        if counts.pixels < truth.numel():
            ignored = truth == IGNORE
            prediction, truth = prediction.masked_fill(ignored, 0), truth.masked_fill(ignored, 0)
        masks = prediction.cpu().numpy(), truth.cpu().numpy()
        self._seen.distances.append(self._distances(*masks, [(1.0, 1.0)] * len(truth)))
        if self._pixel_sizes:
            sizes = [self._pixel_sizes[image] for image in images]
            self._seen.lengths.append(self._in_mm(*masks, self._seen.distances[-1], sizes))

    def state(self) -> tuple[list[str], dict[str, NDArray]]:
        """Return the images so far and the numbers that `merge` takes into another evaluation, without masks."""
        counts = Counts.concatenate(self._seen.counts)
        numbers = {name: getattr(counts, name) for name in CELLS} | {"distances": np.concatenate(self._seen.distances)}
        lengths = {"lengths": np.concatenate(self._seen.lengths)} if self._seen.lengths else {}
        return list(self._seen.images), {**numbers, **lengths, **self._average_precision.state()}

    def merge(self, images: Sequence[str], groups: Sequence[str], numbers: Mapping[str, NDArray]) -> None:
        """Add what another evaluation has seen.

        Args:
            images: its images, none of which were seen here.
            groups: the group of each.
            numbers: its `state`.

        Raises:
            ValueError: the numbers are not those of so many images and classes.
        """
        counts, distances = Counts(*(numbers[name] for name in CELLS)), numbers["distances"]
        lengths, shape = [numbers["lengths"]] if "lengths" in numbers else [], (len(images), len(self._unions))
        if any(array.shape != shape for array in (counts.tp, counts.fp, counts.fn, counts.tn, distances, *lengths)):
            raise ValueError(f"expected numbers of {shape[0]} images and {shape[1]} classes and regions, but got {distances.shape}")
        self._average_precision.merge(numbers)
        self._seen.counts.append(counts)
        self._seen.distances.append(distances)
        self._seen.lengths += lengths
        self._seen.images.update(zip(images, groups, strict=True))

    def compute(self) -> Evaluation:
        """Compute all metrics of the images so far.

        Raises:
            ValueError: there were no images.
        """
        if not self._seen.images:
            raise ValueError("expected at least one image to evaluate, but got none")
        counts = Counts.concatenate(self._seen.counts)
        distances = None if self.light else np.concatenate(self._seen.distances)
        metrics: dict[str, float] = {}
        for name, formula in OVERLAP.items():
            metrics |= self._by_class(name, formula(counts.sum()))
        if distances is not None:
            metrics |= self._by_class("average_precision", self._average_precision.compute())
            metrics |= self._by_class("hd95", distances.mean(axis=0))
        lengths = np.concatenate(self._seen.lengths) if self._seen.lengths else None
        if lengths is not None and len(lengths) < len(counts.tp):  # merged with images whose pixels are of unknown size
            lengths = None
        if lengths is not None:
            metrics |= self._by_class("hd95_mm", lengths.mean(axis=0))
        groups = list(self._seen.images.values())
        cases = {"image": counts}
        if len(set(groups)) < len(groups):  # else it would equal the value per image
            cases["patient"] = counts.by_group(groups)
        for name in PER_CASE:
            for case, pooled in cases.items():
                metrics[f"{name}_per_{case}"] = float(OVERLAP[name](pooled)[:, self._averaged].mean())
        return Evaluation(metrics, self._rows(counts, distances, lengths), constant=self._constant(counts.sum()))

    def _constant(self, counts: Counts) -> float:
        """Return the highest Dice of masks that have the same label in every pixel of every image, from the pooled counts."""
        true, false = counts.tp + counts.fn, counts.fp + counts.tn
        has = np.array([[label in labels for labels in self._unions] for label in range(self.classes + 1)])
        masks = Counts(*(np.where(has, some, 0) for some in (true, false)), *(np.where(has, 0, some) for some in (true, false)))
        return float(OVERLAP["dice"](masks)[:, self._averaged].mean(axis=1).max())

    def _rows(
        self, counts: Counts, distances: NDArray[np.float64] | None, lengths: NDArray[np.float64] | None
    ) -> list[dict[str, Any]]:  # fmt: skip
        measured = {"dice": OVERLAP["dice"](counts), "hd95": distances, "hd95_mm": lengths}  # (N, classes + regions) each
        columns: dict[str, list[Any]] = {"image": list(self._seen.images), "group": list(self._seen.images.values())}
        for name, values in measured.items():
            if values is not None:
                columns[name] = values[:, self._averaged].mean(axis=1).tolist()
                columns |= {f"{name}_{part}": values[:, k].tolist() for k, part in enumerate(self._columns)}
        columns |= {f"{c}_{part}": getattr(counts, c)[:, k].tolist() for k, part in enumerate(self._columns) for c in CELLS}
        columns |= {c: getattr(counts, c)[:, 0].tolist() for c in CELLS if self.classes == 1}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _by_class(self, name: str, values: NDArray[np.float64]) -> Mapping[str, float]:
        parts = {f"{name}_{column}": float(value) for column, value in zip(self._columns, values, strict=True)}
        return {name: float(values[self._averaged].mean()), **parts}

    def _distances(
        self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8], pixels: Sequence[tuple[float, float]]
    ) -> NDArray[np.float64]:  # fmt: skip
        rows = zip(prediction, truth, pixels, strict=True)
        return np.array(  # (N, classes + regions)
            [[hd95(_union(p, labels), _union(t, labels), pixel) for labels in self._unions] for p, t, pixel in rows]
        )

    def _in_mm(
        self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8], distances: NDArray[np.float64],
        pixels: Sequence[tuple[float, float]],
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return the distances in mm; those in pixels are only multiplied where pixels are square."""
        if all(math.isclose(height, width, rel_tol=1e-5) for height, width in pixels):
            return distances * np.array(pixels)[:, :1]
        return self._distances(prediction, truth, pixels)

    def _check(self, probabilities: Tensor, truth: Tensor, images: Sequence[str], groups: Sequence[str]) -> None:
        channels = 1 if self.classes == 1 else self.classes + 1
        n, *space = truth.shape
        if truth.ndim != 3 or truth.numel() == 0 or tuple(probabilities.shape) != (n, channels, *space):
            raise ValueError(
                f"expected probabilities (N, {channels}, H, W) and truth (N, H, W), but got "
                f"{tuple(probabilities.shape)} and {tuple(truth.shape)}"
            )
        if not len(images) == len(groups) == n:
            raise ValueError(f"expected {n} images and groups, but got {len(images)} and {len(groups)}")
        if not bool((probabilities.amin() >= 0) & (probabilities.amax() <= 1)):  # both are NaN if a value is
            wrong = "NaN" if bool(torch.isnan(probabilities).any()) else "values outside [0, 1]"
            raise ValueError(f"expected probabilities in [0, 1], but got {wrong}; apply the sigmoid or softmax first")
        if int(truth.max()) > self.classes and (highest := int((truth * (truth != IGNORE)).max())) > self.classes:
            names = ", ".join(("background", *self.class_names))
            raise ValueError(f"expected labels 0..{self.classes} ({names}) in the truth, but got {highest}")
        if again := [image for i, image in enumerate(images) if image in self._seen.images or image in images[:i]]:
            raise ValueError(f"expected every image once, but {again[0]!r} came again")


def _union(mask: NDArray[np.uint8], labels: Sequence[int]) -> NDArray[np.bool_]:
    """Return where a mask has one of the labels."""
    return mask == labels[0] if len(labels) == 1 else np.isin(mask, labels)
