"""LBTC: how well the minimum spanning trees of features around the boundaries of classes keep to one class."""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from medtransfer.config import Section
from medtransfer.indicators.contract import Batch, Context, Options
from medtransfer.indicators.sampled import SampledIndicator
from medtransfer.indicators.samples.labelled_pixels import to_grid
from medtransfer.records import IGNORE
from medtransfer.records.scores import Setting
from medtransfer.seeds import derive_seed

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


def boundary(labels: Labels) -> NDArray[np.int64]:
    """Return the foreground pixels that have a 4-neighbour of another class inside the image, as (A, 2) rows and columns.

    Pixels labelled IGNORE are neither.
    """
    padded = np.pad(labels, 1, constant_values=IGNORE)
    middle = slice(1, -1)
    neighbours = np.stack([padded[:-2, middle], padded[2:, middle], padded[middle, :-2], padded[middle, 2:]])
    differs = ((neighbours != labels) & (neighbours != IGNORE)).any(axis=0)
    return np.argwhere(differs & (labels != 0) & (labels != IGNORE))


def count_crossings(distances: Numbers, labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the edges of minimum spanning trees that join two labels, by Prim's algorithm on all windows at once.

    Args:
        distances: pairwise distances (W, k, k) in each window.
        labels: (W, k); points labelled IGNORE are not in the tree.

    Returns:
        Edges that join two labels, and edges, (W,) each.
    """
    windows = np.arange(len(labels))
    remaining = labels != IGNORE
    newest = remaining.argmax(axis=1)
    nearest, parent = np.full(labels.shape, np.inf), np.zeros(labels.shape, dtype=np.int64)
    crossings, edges = np.zeros((2, len(labels)), dtype=np.int64)
    for _ in range(labels.shape[1] - 1):
        remaining[windows, newest] = False
        from_newest = distances[windows, newest]  # (W, k)
        closer = from_newest < nearest
        nearest, parent = np.where(closer, from_newest, nearest), np.where(closer, newest[:, None], parent)
        newest = np.where(remaining, nearest, np.inf).argmin(axis=1)
        joined = remaining[windows, newest]
        crossings += joined & (labels[windows, newest] != labels[windows, parent[windows, newest]])
        edges += joined
    return crossings, edges


def chance_of_crossing(labels: Labels) -> Numbers:
    """Return the probability that two points of each window have different labels, 1 - sum n_c (n_c - 1) / (n (n - 1)).

    Args:
        labels: (W, k), without points labelled IGNORE; each window has at least two others.
    """
    valid = labels != IGNORE
    same = (labels[:, :, None] == labels[:, None]) & valid[:, None]  # (W, k, k)
    count = valid.sum(axis=1)
    return 1 - ((same & valid[:, :, None]).sum(axis=(1, 2)) - count) / (count * (count - 1))


def leakage(
    features: Tensor, labels: Labels, anchors: NDArray[np.int64], window: int, generator: np.random.Generator
) -> tuple[Numbers, Numbers, int]:  # fmt: skip
    """Compute the share of edges that join two labels in the minimum spanning tree of the window around each anchor.

    A window is cut off at the border of the image. Tied distances are broken at random.

    Args:
        features: map (D, h, w).
        labels: (h, w).
        anchors: (A, 2).
        window: odd side of the windows, in cells.
        generator: breaks ties.

    Returns:
        The shares, the shares to expect by chance, (A,) each, and the number of windows with ties.
    """
    offsets = np.indices((window, window)).reshape(2, -1).T - window // 2  # (k, 2)
    order = generator.random((len(anchors), len(offsets))).argsort(axis=1)
    rows, columns = np.moveaxis((anchors[:, None] + offsets)[np.arange(len(anchors))[:, None], order], -1, 0)  # (A, k) each
    inside = (rows >= 0) & (rows < labels.shape[0]) & (columns >= 0) & (columns < labels.shape[1])
    rows, columns = np.where(inside, rows, anchors[:, :1]), np.where(inside, columns, anchors[:, 1:])
    labels = np.where(inside, labels[rows, columns], IGNORE)  # (A, k)
    at = torch.from_numpy(rows * features.shape[2] + columns).to(features.device)
    points = features.flatten(1).T[at].cpu().double()  # (A, k, D)
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    crossings, edges = count_crossings(distances, labels)
    return crossings / edges, chance_of_crossing(labels), _tied(distances, labels)


def _tied(distances: Numbers, labels: Labels) -> int:
    """Return the number of windows in which two pairs of points have the same distance."""
    first, second = np.triu_indices(labels.shape[1], 1)
    valid = (labels[:, first] != IGNORE) & (labels[:, second] != IGNORE)
    pairs = np.sort(np.where(valid, distances[:, first, second], np.inf), axis=1)
    return int(((pairs[:, 1:] == pairs[:, :-1]) & np.isfinite(pairs[:, 1:])).any(axis=1).sum())


@dataclass(frozen=True)
class Boundaries:
    """Sums over the windows of each image.

    Attributes:
        images: int64 (n,), position of each image that has an anchor.
        anchors: (n,), number of windows.
        shares: (n,), sum of the shares of edges that join two labels.
        chances: (n,), sum of the shares to expect by chance.
        flags: `images_without_anchors`, `tied_windows` and `nonfinite` (pixels near anchors replaced by zeros); zero counts are
            left out.
    """

    images: NDArray[np.int64]
    anchors: Numbers
    shares: Numbers
    chances: Numbers
    flags: dict[str, int] = field(default_factory=dict)

    def keep(self, rows: NDArray[np.bool_]) -> Self:
        """Return the sums of the chosen images."""
        return replace(
            self, images=self.images[rows], anchors=self.anchors[rows], shares=self.shares[rows], chances=self.chances[rows]
        )  # fmt: skip

    def score(self, corrected: bool) -> float:
        """Return the score, NaN without an anchor.

        Args:
            corrected: 1 - sum of shares / sum of chances, so that 0 is chance; else the mean over images of 1 - share.
        """
        if not len(self.images):
            return np.nan
        return float(1 - (self.shares.sum() / self.chances.sum() if corrected else (self.shares / self.anchors).mean()))


class BoundarySampler:
    """Computes the trees around a few anchors of each image; keeps a few numbers per image."""

    needs: ClassVar[frozenset[str]] = frozenset({"features", "labels"})

    def __init__(
        self, images: tuple[str, ...], classes: int, level: int, window: int, anchors: int | None, seed: int
    ) -> None:  # fmt: skip
        """Start empty.

        Args:
            images: ids, in the order of the positions in batches.
            classes: number of labels, background included.
            level: level of the maps, counted from the end.
            window: odd side of the windows, in cells.
            anchors: most anchors of an image, drawn by the seed and the image's id; None for all.
            seed: seed of the draws.
        """
        self._images, self._classes, self._level = images, classes, level
        self._window, self._anchors, self._seed = window, anchors, seed
        self._sums: dict[int, tuple[int, float, float]] = {}  # by position
        self._flags = {"images_without_anchors": 0, "tied_windows": 0, "nonfinite": 0}

    def update(self, batch: Batch) -> None:
        """Add the images of a batch."""
        assert batch.features is not None and batch.labels is not None
        maps = batch.features[self._level]  # (B, D, h, w)
        grids, _ = to_grid(batch.labels, self._classes, *maps.shape[2:])
        for position, features, labels in zip(batch.positions, maps, grids, strict=True):
            self.add(int(position), features, labels)

    def add(self, position: int, features: Tensor, labels: Labels) -> None:
        """Add an image.

        Args:
            position: position of the image.
            features: map (D, h, w).
            labels: (h, w), on the same grid.
        """
        anchors = boundary(labels)
        if not len(anchors):
            self._flags["images_without_anchors"] += 1
            return
        broken = ~features.isfinite().all(0)
        if broken.any():
            self._flags["nonfinite"] += int(broken.sum())
            features = features.masked_fill(broken, 0.0)
        generator = np.random.default_rng(derive_seed(self._seed, "anchors", self._images[position]))
        drawn = generator.permutation(anchors)[: self._anchors]
        shares, chances, tied = leakage(features, labels, drawn, self._window, generator)
        self._flags["tied_windows"] += tied
        self._sums[position] = len(drawn), float(shares.sum()), float(chances.sum())

    def collect(self) -> Boundaries:
        """Return the sums of all images, in the order of their positions."""
        images = np.array(sorted(self._sums), dtype=np.int64)
        anchors, shares, chances = np.array([self._sums[position] for position in images]).reshape(-1, 3).T
        flags = {name: number for name, number in self._flags.items() if number}
        return Boundaries(images, anchors, shares, chances, flags)


def boundaries(maps: Numbers, labels: Labels, window: int) -> Boundaries:
    """Compute the sums of every window of images; arguments as of `lbtc`."""
    if maps.ndim != 4 or labels.shape != (len(maps), *maps.shape[2:]) or not maps.size or not np.isfinite(maps).all():
        raise ValueError(f"expected finite maps (n, D, h, w) and labels (n, h, w), but got {maps.shape} and {labels.shape}")
    if window < 3 or window % 2 == 0:
        raise ValueError(f"expected an odd side of the windows from 3 on, but got {window}")
    sampler = BoundarySampler(tuple(map(str, range(len(maps)))), int(labels.max()) + 1, -1, window, None, 0)
    for position, (features, grid) in enumerate(zip(maps, labels, strict=True)):
        sampler.add(position, torch.from_numpy(features), grid)
    return sampler.collect()


def lbtc(maps: Numbers, labels: Labels, window: int = 3) -> tuple[float, dict[str, int]]:
    """Compute 1 - the share of tree edges that join two labels, in windows around boundaries; mean per image, then over images.

    Args:
        maps: features (n, D, h, w), finite.
        labels: (n, h, w) on the grid of the maps; 0 is background, and pixels labelled IGNORE are left out.
        window: odd side of the windows, in cells.

    Returns:
        The score, NaN without an anchor, and the flags of `Boundaries`.

    Raises:
        ValueError: the shapes do not fit, a feature is not finite, or the window has no centre.

    Source: arXiv:2602.23916; the window is one of space, not of the nearest features as in its code.
    """
    sums = boundaries(maps, labels, window)
    return sums.score(corrected=False), sums.flags


def lbtc_corrected(maps: Numbers, labels: Labels, window: int = 3) -> tuple[float, dict[str, int]]:
    """Compute 1 - sum of shares / sum of the shares to expect by chance: 0 is chance, 1 separated; otherwise as `lbtc`."""
    sums = boundaries(maps, labels, window)
    return sums.score(corrected=True), sums.flags


class LBTCOptions(Section):
    """Options of LBTC, corrected or not."""

    window: Annotated[int, Field(ge=3)]
    """odd side of the window around a boundary pixel, in cells of the level"""
    anchors: Annotated[int, Field(gt=0)]
    """boundary pixels of an image at most, drawn with the seed"""

    @field_validator("window")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, so that a window has a centre")
        return value


class LBTC(SampledIndicator[Boundaries]):
    """LBTC of the maps of one level."""

    name: ClassVar[str] = "lbtc"
    needs: ClassVar[frozenset[str]] = BoundarySampler.needs
    options: ClassVar[type[Section]] = LBTCOptions
    corrected: ClassVar[bool] = False

    def setting(self, options: Options) -> Setting:
        """Return the level and the options of LBTC."""
        return {"level": options.level, **options.own[LBTC.name].model_dump()}

    def sampler(self, context: Context) -> BoundarySampler:
        """Return the sums of sampled windows, which both kinds share."""
        own = context.options.own[LBTC.name]
        assert isinstance(own, LBTCOptions)
        return context.samples.share(
            BoundarySampler, tuple(context.images), context.classes, context.options.level, own.window, own.anchors, context.seed
        )  # fmt: skip

    def measure(self, sample: Boundaries, context: Context) -> tuple[float, dict[str, int]]:
        """Compute the score of the sums."""
        return sample.score(self.corrected), {}


class CorrectedLBTC(LBTC):
    """LBTC relative to chance; its options are those of `lbtc`."""

    name: ClassVar[str] = "lbtc_corrected"
    options: ClassVar[type[Section]] = Section
    corrected: ClassVar[bool] = True
