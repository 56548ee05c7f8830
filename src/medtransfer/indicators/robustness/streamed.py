"""All distances of a batch of feature maps, flattened and pooled, computed in one pass over the maps.

The maps are read in chunks that fit in the cache and are reduced to sums (see `distances_from_sums`). Pairs whose distances
are lost to rounding in these sums are computed by `pair_distances`, which is exact for all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.distances import pair_distances
from medtransfer.indicators.robustness.distances_from_sums import Moments, Numbers, distances_of

CHUNK = {"cpu": 2**17}  # feature values per side that are processed at once, so that they stay in a CPU's cache
LARGE_CHUNK = 2**24  # on other devices, which need large kernels
BLOCK = 2**8  # features that are summed in their own precision; the sums of blocks are added in float64
BLOCK_ROUNDING, DOUBLE_ROUNDING = 2.0**-22, 2.0**-48  # relative errors of a sum: over a block of equal numbers; in float64
COUNTS = ("nonfinite", "zero", "constant")


class BatchDistances:
    """Distances of the pairs of one batch; on a GPU only `collect` synchronises."""

    def __init__(self, queries: list[Tensor], keys: list[Tensor], negative: Tensor) -> None:
        """Start to sum over the maps.

        Args:
            queries: one map (B, C, H, W) per level, of any floating type and on any device.
            keys: one map (K, C, H, W) per level, K >= B; row i is the positive of query i.
            negative: int64 (B,) on the CPU, the row of `keys` that is each query's negative.

        Raises:
            ValueError: the maps or the negatives do not fit.
        """
        _check(queries, keys, negative)
        self._negative = negative
        self._levels = [_Level.of(first, second, negative) for first, second in zip(queries, keys, strict=True)]

    def collect(self) -> tuple[Numbers, list[dict[str, int]]]:
        """Wait for the sums and return the distances.

        Returns:
            The distances (names, spaces, 2, B), always finite: names as in DISTANCES; spaces are the levels in the given
            order, each flattened and then pooled; to the positives, then to the negatives. And the counts of
            `pair_distances` for each space.
        """
        spaces = [space for level in _on_cpu(self._levels) for space in level.finish(self._negative)]
        totals, squares = (torch.stack([space.sums[part] for space in spaces]) for part in (0, 1))
        sizes, roundings = np.array([float(space.size) for space in spaces]), np.array([space.rounding for space in spaces])
        distances, lost = distances_of(Moments(sizes, roundings, _arrange(totals, squares, self._negative).numpy()))
        counts = [dict.fromkeys(COUNTS, 0) for _ in spaces]
        for number, side in np.argwhere(lost.any(2)).tolist():
            rows = torch.from_numpy(np.flatnonzero(lost[number, side]))
            exact, more = spaces[number].measure(rows, self._negative[rows] if side else rows)
            distances[:, number, side, rows.numpy()] = exact
            counts[number] = {name: counts[number][name] + more[name] for name in COUNTS}
        return distances, counts


@dataclass(frozen=True)
class _Space:
    """Features in any common order, with sums over them.

    Attributes:
        queries: (B, D).
        keys: (K, D).
        rounding: relative error of the sums of squares.
        sums: float64 sums of all views (B + K,), queries first; and sums of squares of all views, then of the differences to
            the positives, then to the negatives, (B + K + 2 * B,).
    """

    queries: Tensor
    keys: Tensor
    rounding: float
    sums: tuple[Tensor, Tensor]

    @property
    def size(self) -> int:
        """Number of features."""
        return self.queries.shape[1]

    def measure(self, queries: Tensor, keys: Tensor) -> tuple[Numbers, dict[str, int]]:
        """Compute distances (names, pairs), and counts, of the given rows of queries and keys."""
        rows = _chunk_rows(self.queries)
        values, total = [], dict.fromkeys(COUNTS, 0)
        for first, second in zip(queries.split(rows), keys.split(rows), strict=True):
            distances, counts = pair_distances(_take(self.queries, first), _take(self.keys, second))
            values.append(torch.stack([distances[name] for name in DISTANCES]).cpu().double())
            total = {name: total[name] + counts[name] for name in COUNTS}
        return torch.cat(values, dim=1).numpy(), total


@dataclass(frozen=True)
class _Level:
    """Maps of one level and the sums over them.

    Attributes:
        queries: (B, D), features in the order of memory.
        keys: (K, D), likewise.
        pixels: H * W.
        channels: float64 sums by channel, (B + K, C), queries first.
        blocks: sums by block of features, (B + K + 2 * B, blocks): squares of all views, then squared differences to the
            positives, then to the negatives.
    """

    queries: Tensor
    keys: Tensor
    pixels: int
    channels: Tensor
    blocks: Tensor

    @classmethod
    def of(cls, queries: Tensor, keys: Tensor, negative: Tensor) -> "_Level":
        """Read maps (B, C, H, W) and (K, C, H, W)."""
        pixels, axis = queries.shape[2] * queries.shape[3], 2
        if queries.is_contiguous(memory_format=torch.channels_last):  # flattening in memory order copies nothing
            queries, keys, axis = queries.permute(0, 2, 3, 1), keys.permute(0, 2, 3, 1), 1  # (N, H, W, C)
        shape = (pixels, -1) if axis == 1 else (-1, pixels)
        queries, keys = (maps.reshape(len(maps), *shape) for maps in (queries, keys))  # (N, HW, C) or (N, C, HW)
        return cls(queries.flatten(1), keys.flatten(1), pixels, *_read(queries, keys, negative, axis))

    def finish(self, negative: Tensor) -> tuple[_Space, _Space]:
        """Add up the sums in float64, for the flattened and the pooled features."""
        count = len(negative)
        flat = self.channels.sum(1), self.blocks.double().sum(1)
        pooled = self.channels / self.pixels  # (B + K, C)
        queries, keys = pooled[:count], pooled[count:]
        rows = torch.cat([pooled, queries - keys[:count], queries - keys[negative]])
        sums = pooled.sum(1), rows.square().sum(1)
        return _Space(self.queries, self.keys, BLOCK_ROUNDING, flat), _Space(queries, keys, DOUBLE_ROUNDING, sums)


def _arrange(total: Tensor, squares: Tensor, negative: Tensor) -> Tensor:
    """Arrange `_Space.sums` of several spaces, (spaces, B + K) and (spaces, B + K + 2 * B), as in `Moments.sums`."""
    count, views = len(negative), total.shape[1]
    parts = []
    for part in (total, squares):
        keys = part[:, count:views]
        parts += [part[:, :count], keys[:, :count], keys[:, negative]]
    return torch.stack([*parts, squares[:, views : views + count], squares[:, views + count :]], dim=1)


def _read(queries: Tensor, keys: Tensor, negative: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Compute `_Level.channels` and `_Level.blocks` of maps with three axes; `axis` is that of the pixels."""
    rows, count = _chunk_rows(queries), len(queries)
    of_queries, of_keys, positives, negatives = [], [], [], []
    for start in range(0, count, rows):
        end = min(start + rows, count)
        first, second = _wide(queries[start:end]), _wide(keys[start:end])
        of_queries.append((_totals(first, axis), _squares(first)))
        of_keys.append((_totals(second, axis), _squares(second)))
        positives.append(_gaps(first, second))
        negatives.append(_gaps(first, _wide(_take(keys, negative[start:end]))))
    for start in range(count, len(keys), rows):  # negatives from other batches
        second = _wide(keys[start : start + rows])
        of_keys.append((_totals(second, axis), _squares(second)))
    channels, squares = zip(*of_queries, *of_keys, strict=True)
    return torch.cat(channels), torch.cat([*squares, *positives, *negatives])


def _chunk_rows(rows: Tensor) -> int:
    return max(1, CHUNK.get(rows.device.type, LARGE_CHUNK) // rows[0].numel())


def _wide(rows: Tensor) -> Tensor:
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """Select rows, without a copy if they are consecutive."""
    first = int(index[0])
    if torch.equal(index, torch.arange(first, first + len(index))):
        return rows[first : first + len(index)]
    return rows[index.to(rows.device, non_blocking=True)]


def _totals(rows: Tensor, axis: int) -> Tensor:
    return rows.sum(axis, dtype=torch.float64)


def _squares(rows: Tensor) -> Tensor:
    return _by_block(rows.flatten(1), lambda part: torch.linalg.vector_norm(part, dim=2).square())


def _gaps(a: Tensor, b: Tensor) -> Tensor:
    return _by_block(mse_loss(a, b, reduction="none").flatten(1), lambda part: part.sum(2))


def _by_block(rows: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Reduce (N, D) to (N, blocks)."""
    rest = rows.shape[1] % BLOCK
    whole = rows.shape[1] - rest
    parts = [rows[:, :whole].unflatten(1, (-1, BLOCK))] if whole else []
    parts += [rows[:, whole:].unsqueeze(1)] if rest else []
    return torch.cat([reduce(part) for part in parts], dim=1) if len(parts) > 1 else reduce(parts[0])


def _on_cpu(levels: list[_Level]) -> list[_Level]:
    """Copy the sums to the CPU with a single synchronisation."""
    if levels[0].queries.device.type == "cpu":
        return levels
    parts = [part for level in levels for part in (level.channels, level.blocks)]
    copied = torch.cat([part.flatten().double() for part in parts]).cpu().split([part.numel() for part in parts])
    shaped = [values.view(part.shape) for values, part in zip(copied, parts, strict=True)]
    return [replace(level, channels=shaped[2 * i], blocks=shaped[2 * i + 1]) for i, level in enumerate(levels)]


def _check(queries: list[Tensor], keys: list[Tensor], negative: Tensor) -> None:
    if not queries or len(queries) != len(keys):
        raise ValueError(f"expected as many maps of queries as of keys, at least 1, but got {len(queries)} and {len(keys)}")
    for first, second in zip(queries, keys, strict=True):
        fits = first.ndim == second.ndim == 4 and first.shape[1:] == second.shape[1:] and first.numel() > 0
        if not fits or len(second) < len(first) or negative.shape != first.shape[:1] or len(second) != len(keys[0]):
            raise ValueError(
                f"expected maps (B, C, H, W) and (K, C, H, W) with K >= B, and B negatives, but got {tuple(first.shape)}, "
                f"{tuple(second.shape)} and {tuple(negative.shape)}"
            )
    if int(negative.min()) < 0 or int(negative.max()) >= len(keys[0]):
        raise ValueError(f"expected negatives in 0..{len(keys[0]) - 1}, but got {negative.tolist()}")
