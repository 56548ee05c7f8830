"""Counts of pixels by image and class, and overlap metrics computed from them.

Rules for empty masks, for all segmentation metrics of this package:
- the class is neither predicted nor true: perfect agreement. Dice, Jaccard, MCC, precision and sensitivity are 1, HD95 is
  0 pixels, average precision is 1 (predicted means: a probability above 0.5).
- the class is only predicted, or only true: Jaccard, MCC, precision, sensitivity and average precision are 0, Dice is
  1 / (number of wrong pixels + 1) by its own smoothing, HD95 is the image diagonal.
- the class is true everywhere: specificity, which has no negative pixels, is 1; MCC is 1 if it is also predicted
  everywhere, else 0.
So every metric is always finite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """True positive, false positive, false negative and true negative pixels, int64 (..., classes) each.

    The last axis is the class 1..classes, without background, and then the region; the axis before it, if any, the image.
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]

    @property
    def pixels(self) -> int:
        """Number of counted pixels of all images."""
        return int((self.tp + self.fp + self.fn + self.tn)[..., 0].sum())

    def sum(self) -> "Counts":
        """Pool the counts of all images, (N, classes) -> (classes,)."""
        return self._map(lambda part: part.sum(axis=0))

    def by_group(self, keys: Sequence[str]) -> "Counts":
        """Pool the counts of the images of each group, (N, classes) -> (groups, classes), in order of first appearance.

        Raises:
            ValueError: the numbers of keys and images differ.
        """
        if len(keys) != len(self.tp):
            raise ValueError(f"expected one group key for each of {len(self.tp)} images, but got {len(keys)}")
        numbers: dict[str, int] = {}
        group = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
        order = np.argsort(group, kind="stable")
        first = np.searchsorted(group[order], np.arange(len(numbers)))  # of each group in that order
        return self._map(lambda part: np.add.reduceat(part[order], first, axis=0))

    @classmethod
    def concatenate(cls, parts: Sequence["Counts"]) -> "Counts":
        """Concatenate counts along the image axis."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("tp", "fp", "fn", "tn")))

    def _map(self, function: Callable[..., NDArray[np.int64]]) -> "Counts":
        return Counts(function(self.tp), function(self.fp), function(self.fn), function(self.tn))


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64], empty: NDArray[np.bool_]) -> Array:
    """Divide; where the denominator is 0, return 1 for true entries of `empty`, else 0."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), empty.astype(np.float64))


def _absent(c: Counts) -> NDArray[np.bool_]:
    absent: NDArray[np.bool_] = (c.tp + c.fp + c.fn) == 0
    return absent


def _dice(c: Counts) -> Array:
    return (2 * c.tp + 1) / (2 * c.tp + c.fp + c.fn + 1)


def _jaccard(c: Counts) -> Array:
    return _ratio(c.tp, c.tp + c.fp + c.fn, _absent(c))


def _mcc(c: Counts) -> Array:
    # Square roots before the product: the product of four pixel counts overflows 64 bits.
    margins = [np.sqrt((x + y).astype(np.float64)) for x in (c.tp, c.tn) for y in (c.fp, c.fn)]
    scale = margins[0] * margins[1] * margins[2] * margins[3]
    covariance = c.tp.astype(np.float64) * c.tn - c.fp.astype(np.float64) * c.fn
    perfect = ((c.fp + c.fn) == 0).astype(np.float64)
    return np.where(scale > 0, np.clip(covariance / np.where(scale > 0, scale, 1.0), -1.0, 1.0), perfect)


def _precision(c: Counts) -> Array:
    return _ratio(c.tp, c.tp + c.fp, _absent(c))


def _sensitivity(c: Counts) -> Array:
    return _ratio(c.tp, c.tp + c.fn, _absent(c))


def _specificity(c: Counts) -> Array:
    return _ratio(c.tn, c.tn + c.fp, c.fp == 0)


OVERLAP: dict[str, Callable[[Counts], Array]] = {
    "dice": _dice,  # (2 TP + 1) / (2 TP + FP + FN + 1), A.3
    "jaccard": _jaccard,  # TP / (TP + FP + FN)
    "mcc": _mcc,  # (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN))
    "precision": _precision,  # TP / (TP + FP)
    "sensitivity": _sensitivity,  # TP / (TP + FN)
    "specificity": _specificity,  # TN / (TN + FP)
}
