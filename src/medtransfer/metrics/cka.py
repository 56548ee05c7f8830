"""Linear CKA: how alike sets of features arrange the same samples, accumulated over batches of them.

Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019; over minibatches Nguyen et al., Do Wide
and Deep Networks Learn the Same Things?, ICLR 2021, with the unbiased HSIC of Song et al., Feature Selection via Dependence
Maximization, JMLR 13, 2012.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Features = NDArray[np.floating[Any]]
LEAST_SAMPLES = 4  # below, the unbiased estimate does not exist
COLUMNS = 2**16  # features that are in double precision at once


class MinibatchCKA:
    """Linear CKA of every two of M sets of features, with the unbiased estimate of HSIC averaged over equal batches.

    It estimates the CKA of the population, whatever the size of the batches; unrelated features are at about 0, even if they are
    wider than the sample is large, and may be slightly below. Of a single batch it is the unbiased estimate of that sample.
    Memory: a few numbers per pair of sets, and per batch of n samples M kernels (n, n), or the products (D, D) of features of no
    more than n columns. All sums are in double precision.
    """

    def __init__(self) -> None:
        """Start without samples."""
        self._hsic: Numbers | None = None  # (M, M), summed over batches
        self._shape: tuple[int, ...] = ()  # samples of a batch, and the width of each set

    def update(self, *features: Features) -> None:
        """Add a batch.

        Args:
            features: M sets of features of the same n samples in the same order, finite (n, D), n >= LEAST_SAMPLES. Widths may
                differ between sets; n and the widths are those of every batch.

        Raises:
            ValueError: the shapes do not fit, or a feature is not finite.
        """
        shape = check(features, LEAST_SAMPLES)
        if self._shape and shape != self._shape:
            raise ValueError(f"expected batches of one shape, (samples, *widths) {self._shape}, but got {shape}")
        added = hsic(features)
        self._hsic, self._shape = added if self._hsic is None else self._hsic + added, shape

    def compute(self) -> Numbers:
        """Return the values (M, M), in [-1, 1]; NaN where the samples of one set are equal within every batch.

        Raises:
            ValueError: there was no batch.
        """
        if self._hsic is None:
            raise ValueError("expected at least one batch, but got none")
        return _ratio(self._hsic)


class LinearCKA:
    """Linear CKA of every two of M sets of features, columns centred over all samples: exact, whatever the batches.

    It is high for unrelated features that are wider than the sample is large; see `MinibatchCKA`. Memory: with D the sum of the
    widths and N the samples, the samples (N, D) while their M kernels (N, N) are smaller than the products of features (D, D),
    and these products from then on. All sums are in double precision.
    """

    def __init__(self) -> None:
        """Start without samples."""
        self._widths: tuple[int, ...] = ()
        self._count = 0
        self._rows: list[Numbers] = []  # batches (n, D), relative to the first sample
        self._products: Numbers | None = None  # (D, D), of earlier batches

    def update(self, *features: Features) -> None:
        """Add a batch.

        Args:
            features: M sets of features of the same n samples in the same order, finite (n, D). Widths may differ between sets.

        Raises:
            ValueError: the shapes do not fit, or a feature is not finite.
        """
        count, *widths = check(features, 1)
        rows = np.hstack(features).astype(np.float64)  # (n, D)
        if not self._widths:
            self._widths, self._first, self._sum = tuple(widths), rows[0].copy(), np.zeros(sum(widths))
        if tuple(widths) != self._widths:
            raise ValueError(f"expected features of the widths {self._widths}, but got {tuple(widths)}")
        rows -= self._first  # so that products lose no digits to an offset, and equal samples are exactly 0
        self._count += count
        self._sum += rows.sum(axis=0)
        self._rows.append(rows)
        if self._products is not None or len(widths) * self._count**2 > sum(widths) ** 2:
            self._fold()

    def compute(self) -> Numbers:
        """Return the values (M, M), in [0, 1]; NaN where all samples of one set are equal.

        Raises:
            ValueError: there was no sample.
        """
        if not self._count:
            raise ValueError("expected at least one batch, but got none")
        mean, starts = self._sum / self._count, np.cumsum((0, *self._widths[:-1]))
        if self._products is None:
            places = zip(starts.tolist(), self._widths, strict=True)
            return _ratio(_inner([self._kernel(mean, start, start + width) for start, width in places]))
        products = self._products - self._count * np.outer(mean, mean)
        products *= products
        return _ratio(np.add.reduceat(np.add.reduceat(products, starts, axis=0), starts, axis=1))  # (M, M)

    def _kernel(self, mean: Numbers, start: int, stop: int) -> Numbers:
        """Return the flat kernel (N * N) of the centred columns of a set."""
        kernel = np.zeros((self._count, self._count))
        for left in range(start, stop, COLUMNS):
            columns = slice(left, min(left + COLUMNS, stop))
            block = np.vstack([rows[:, columns] for rows in self._rows]) - mean[columns]
            kernel += block @ block.T
        return kernel.ravel()

    def _fold(self) -> None:
        """Replace samples by their products."""
        if self._products is None:
            self._products = np.zeros((sum(self._widths), sum(self._widths)))
        for rows in self._rows:
            self._products += rows.T @ rows
        self._rows = []


def linear_cka(first: Features, second: Features) -> float:
    """Compute the linear CKA of features (N, D) and (N, E) of the same samples; see `LinearCKA`."""
    cka = LinearCKA()
    cka.update(first, second)
    return float(cka.compute()[0, 1])


def unbiased_cka(first: Features, second: Features) -> float:
    """Compute the linear CKA of one sample with the unbiased estimate of HSIC.

    Args:
        first: features of N samples, finite (N, D).
        second: features of the same samples, finite (N, E); E may differ from D.

    Returns:
        A value in [-1, 1]: 1 if the features are equal up to rotation, scale and offset, about 0 if they are unrelated; NaN of
        fewer than LEAST_SAMPLES samples, and if those of one side are all equal.

    Raises:
        ValueError: the shapes do not fit, or a feature is not finite.
    """
    (count, *_) = check((first, second), 1)
    if count < LEAST_SAMPLES:
        return float("nan")
    cka = MinibatchCKA()
    cka.update(first, second)
    return float(cka.compute()[0, 1])


def hsic(features: Sequence[Features]) -> Numbers:
    """Estimate the HSIC of linear kernels of every two of M sets of features (n, D) without bias, from the same n >= 4 samples.

    With K and L the kernels without their diagonals, it is
    [tr(KL) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 1'KL1 / (n - 2)] / (n (n - 3)).

    Returns:
        The estimates (M, M).

    Source: Song et al. 2012, Eq. 5. It is a product of U-centred kernels (Székely and Rizzo, Partial Distance Correlation with
    Methods for Dissimilarities, Annals of Statistics 42, 2014), so that ratios of it are bounded.
    """
    n = len(features[0])
    if max(x.shape[1] for x in features) < n:
        return _from_products([next(_centred(x, x.shape[1])) for x in features]) / (n * (n - 3))
    return _inner([_u_centred(x).ravel() for x in features]) / (n * (n - 3))


def check(features: Sequence[Features], least: int) -> tuple[int, ...]:
    """Return the number of samples and the width of each set.

    Raises:
        ValueError: there are fewer samples than `least`, the shapes do not fit, or a feature is not finite.
    """
    shapes = [np.shape(x) for x in features]
    if not shapes or any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(f"expected features (N, D) of the same samples in every set, but got the shapes {shapes}")
    if shapes[0][0] < least:
        raise ValueError(f"expected at least {least} samples in a batch, but got {shapes[0][0]}")
    if not all(np.isfinite(x).all() for x in features):
        raise ValueError("expected finite features, but some are NaN or infinite")
    return (shapes[0][0], *(shape[1] for shape in shapes))


def _centred(features: Features, columns: int) -> Iterator[Numbers]:
    """Yield blocks of columns in double precision, centred; equal samples are exactly 0."""
    for start in range(0, features.shape[1], max(columns, 1)):
        block = features[:, start : start + columns].astype(np.float64)
        block -= block[0].copy()
        block -= block.mean(axis=0)
        yield block


def _u_centred(features: Features) -> Numbers:
    """Return the U-centred kernel (n, n): rows and columns sum to 0, as does the diagonal."""
    n = len(features)
    kernel = np.zeros((n, n))
    for block in _centred(features, COLUMNS):
        kernel += block @ block.T
    np.fill_diagonal(kernel, 0)
    sums = kernel.sum(axis=0)
    kernel += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums[None, :]) / (n - 2)
    np.fill_diagonal(kernel, 0)
    return kernel


def _from_products(centred: Sequence[Numbers]) -> Numbers:
    """Return the inner products (M, M) of the U-centred kernels of centred features (n, D), without any kernel (n, n).

    Without its diagonal, the kernel of centred features has minus this diagonal as row sums.
    """
    n, values = len(centred[0]), np.zeros((len(centred), len(centred)))
    diagonals = [(x**2).sum(axis=1) for x in centred]
    for i, j in combinations_with_replacement(range(len(centred)), 2):
        own, other = diagonals[i], diagonals[j]
        trace = ((centred[i].T @ centred[j]) ** 2).sum()
        values[i, j] = values[j, i] = trace - n / (n - 2) * (own @ other) + own.sum() * other.sum() / ((n - 1) * (n - 2))
    return values


def _inner(kernels: Sequence[Numbers]) -> Numbers:
    """Return the inner products (M, M) of flat kernels."""
    stacked = np.stack(kernels)  # (M, n * n)
    products: Numbers = stacked @ stacked.T
    return products


def _ratio(inner: Numbers) -> Numbers:
    """Divide inner products (M, M) by the norms."""
    squares = np.diagonal(inner)
    norms = np.sqrt(np.where(squares > 0, squares, np.nan))
    values: Numbers = inner / norms[:, None] / norms[None, :]
    return values
