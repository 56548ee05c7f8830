"""Distances of pairs of feature vectors, defined for every pair.

Degenerate pairs:
- a zero vector has cosine distance 1 to everything, a constant vector has Pearson distance 1 to everything;
- a pair with a NaN or an infinity counts as a pair of zero vectors: cosine and Pearson 1, l2 and euclidean 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from medtransfer.indicators.robustness import DISTANCES

CHUNK = 2**22  # feature values per side that are processed at once, to bound the temporary memory


@dataclass
class _View:
    """One side of the pairs: rows (N, D) with the smallest and largest value of each, (N, 1)."""

    rows: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> "_View":
        return cls(rows, rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True))  # on CPUs 20 times as fast as aminmax

    def blanked(self, bad: Tensor) -> "_View":
        """Replace the rows marked in bad (N, 1) by zero vectors."""
        return _View(*(part.masked_fill(bad, 0.0) for part in (self.rows, self.low, self.high)))

    @property
    def size(self) -> Tensor:
        """Largest magnitude of each row, (N, 1); not finite when any value of the row is not."""
        return torch.maximum(self.low.abs(), self.high.abs())

    @property
    def _scale(self) -> Tensor:
        # A power of two, so that scaling rounds nothing while squares neither overflow nor vanish.
        size = self.size.clamp(min=torch.finfo(self.rows.dtype).tiny)
        return torch.frexp(size).mantissa / size

    def unit(self) -> Tensor:
        """Rows of norm 1, (N, D); a zero vector stays zero."""
        return _normalised(self.rows * self._scale)

    def centred_unit(self) -> Tensor:
        """Rows of mean 0 and norm 1, (N, D)."""
        # Subtract the lowest value first: for nearly constant rows that difference is exact, unlike one to the mean.
        shifted = self.rows * self._scale - self.low * self._scale
        return _normalised(shifted - shifted.mean(dim=1, keepdim=True))


def _normalised(rows: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / norm.clamp(min=torch.finfo(rows.dtype).tiny)


class _Pairs:
    """Quantities that the distances of N pairs share."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
        self.a, self.b = _View.of(a.to(dtype)), _View.of(b.to(dtype))
        bad = ~(torch.isfinite(self.a.size) & torch.isfinite(self.b.size))  # (N, 1)
        self.nonfinite = bad[:, 0]
        self.zero = ((self.a.size == 0) | (self.b.size == 0))[:, 0] & ~self.nonfinite
        self.constant = ((self.a.low == self.a.high) | (self.b.low == self.b.high))[:, 0] & ~self.nonfinite
        if bool(bad.any()):
            self.a, self.b = self.a.blanked(bad), self.b.blanked(bad)

    @cached_property
    def squared_gap(self) -> Tensor:
        """Sum over features of the squared difference, (N,); finite even where it overflows."""
        gap = (self.a.rows - self.b.rows).square().sum(dim=1)
        return gap.clamp(max=torch.finfo(gap.dtype).max)


def _one_minus_product(a: Tensor, b: Tensor, undefined: Tensor) -> Tensor:
    """Compute 1 - <a, b> of unit vectors as |a - b|^2 / 2, which is accurate for nearly equal vectors."""
    distance = ((a - b).square().sum(dim=1) / 2).clamp(max=2.0)
    return distance.masked_fill(undefined, 1.0)


@dataclass(frozen=True)
class Distance:
    """A distance of pairs of vectors, defined by a formula for the rows of pairs."""

    formula: Callable[[_Pairs], Tensor]

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances (N,) of the rows of a and b, (N, D) each."""
        _check_pairs(a, b)
        return self.formula(_Pairs(a, b))


@Distance
def cosine(pairs: _Pairs) -> Tensor:
    """1 - <a, b> / (|a| |b|), in [0, 2]."""
    return _one_minus_product(pairs.a.unit(), pairs.b.unit(), pairs.zero | pairs.nonfinite)


@Distance
def pearson(pairs: _Pairs) -> Tensor:
    """1 - correlation, in [0, 2]."""
    return _one_minus_product(pairs.a.centred_unit(), pairs.b.centred_unit(), pairs.constant | pairs.nonfinite)


@Distance
def l2(pairs: _Pairs) -> Tensor:
    """Mean squared difference over features."""
    return pairs.squared_gap / pairs.a.rows.shape[1]


@Distance
def euclidean(pairs: _Pairs) -> Tensor:
    """L2 norm of the difference."""
    return pairs.squared_gap.sqrt()


def pair_distances(a: Tensor, b: Tensor) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Compute all distances of N pairs of vectors at once, with temporary memory that does not grow with N.

    Args:
        a: features (N, D) of any dtype, on any device; computed in their own precision, at least float32.
        b: features (N, D), row i is compared with row i of a.

    Returns:
        The distances (N,) by name, always finite; and the number of pairs that are `nonfinite` (a or b holds a NaN or
        an infinity), `zero` (a or b is the zero vector) and `constant` (a or b is a constant vector, zero included).

    Raises:
        ValueError: the tensors are not two (N, D) of one shape with N, D >= 1.
    """
    _check_pairs(a, b)
    rows = max(1, CHUNK // a.shape[1])
    distances: dict[str, list[Tensor]] = {name: [] for name in DISTANCES}
    counts = torch.zeros(3, dtype=torch.int64, device=a.device)
    for start in range(0, len(a), rows):
        pairs = _Pairs(a[start : start + rows], b[start : start + rows])
        for name, distance in DISTANCES.items():
            distances[name].append(distance.formula(pairs))
        counts += torch.stack([pairs.nonfinite.sum(), pairs.zero.sum(), pairs.constant.sum()])
    names = ("nonfinite", "zero", "constant")
    return {name: torch.cat(parts) for name, parts in distances.items()}, dict(zip(names, counts.tolist(), strict=True))


def _check_pairs(a: Tensor, b: Tensor) -> None:
    if a.ndim != 2 or a.shape != b.shape or a.numel() == 0:
        raise ValueError(
            f"expected two feature tensors (N, D) of one shape, N and D at least 1, but got {tuple(a.shape)} and "
            f"{tuple(b.shape)}; flatten or pool feature maps first"
        )
