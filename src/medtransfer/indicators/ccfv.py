"""CC-FV: how alike a class looks in different images, and how widely the features of an image spread over the sphere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial.distance import pdist

from medtransfer.config import Section
from medtransfer.indicators.contract import Batch, Context, Options
from medtransfer.indicators.sampled import SampledIndicator
from medtransfer.indicators.samples.class_pixels import ClassPixels, ClassPixelSampler, ImagePixels, choose_pixels, class_pixels
from medtransfer.records.scores import Setting

Numbers = NDArray[np.floating]
ROUNDING = 1e-6  # distances below this share of the vectors' norm are taken for 0
SOFTENING = 1e-3  # added to the squared distance of duplicates, whose inverse would be infinite


def unit(features: Numbers) -> NDArray[np.float64]:
    """Return float64 rows of norm 1; a zero vector stays zero."""
    features = features.astype(np.float64)
    norms = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.where(norms > 0, norms, 1)


def class_distances(samples: Sequence[Numbers]) -> NDArray[np.float64]:
    """Compute the 2-Wasserstein distances between Gaussians fitted to samples.

    W^2 = |m - m'|^2 + tr(S + S' - 2 (S^1/2 S' S^1/2)^1/2). With S = A'A for the centred rows A / sqrt(n - 1), the trace of the
    root is the nuclear norm of A B', a small matrix whatever the width.

    Args:
        samples: rows (n_i, D) of one class, one sample per image.

    Returns:
        Distances (len(samples), len(samples)), NaN where a sample has fewer than 2 rows; a distance within rounding is 0.

    Source: Yang et al., Pick the Best Pre-trained Model: Towards Transferability Estimation for Medical Image Segmentation,
    MICCAI 2023, Section 2.1.
    """
    distances = np.full((len(samples), len(samples)), np.nan)
    usable = [index for index, rows in enumerate(samples) if len(rows) > 1]
    if not usable:
        return distances
    means = np.stack([samples[index].mean(axis=0, dtype=np.float64) for index in usable])  # (m, D)
    centred = np.zeros((len(usable), max(len(samples[index]) for index in usable), means.shape[1]))  # (m, p, D)
    for rows, index, mean in zip(centred, usable, means, strict=True):
        rows[: len(samples[index])] = (samples[index] - mean) / np.sqrt(len(samples[index]) - 1)  # rows of zeros change nothing
    traces = np.square(centred).sum(axis=(1, 2))
    sizes = np.square(means).sum(axis=1) + traces
    for i, index in enumerate(usable):
        cross = np.einsum("pd,mqd->mpq", centred[i], centred[i:], optimize=True)
        roots = np.linalg.svd(cross, compute_uv=False).sum(axis=1)
        squares = np.square(means[i] - means[i:]).sum(axis=1) + traces[i] + traces[i:] - 2 * roots
        squares[squares < ROUNDING**2 * np.maximum(sizes[i], sizes[i:])] = 0.0
        distances[index, usable[i:]] = distances[usable[i:], index] = np.sqrt(squares)
    return distances


def variety(features: Numbers) -> float:
    """Compute the inverse of the mean of 1 / |u - u'| over pairs of rows, u = x / |x|; NaN for fewer than 2 rows.

    Duplicates count as 1 / sqrt(SOFTENING).

    Args:
        features: (P, D).

    Source: Yang et al., MICCAI 2023, Section 2.2; the inverse, so that more spread is higher.
    """
    distances = pdist(unit(features))
    return float(1 / np.mean(1 / np.where(distances > ROUNDING, distances, np.sqrt(SOFTENING)))) if len(distances) else np.nan


@dataclass(frozen=True)
class Comparisons:
    """What CC-FV is an average of.

    Attributes:
        distances: (L, K, n, n), Wasserstein distances between images by level and class; NaN where an image lacks the class.
        varieties: (L, n), the variety of each image by level.
        images: int64 (n,), position of each image.
        flags: those of `ClassPixels`, and `zero_vectors` (sampled pixels without a direction, which stay zero).
    """

    distances: NDArray[np.float64]
    varieties: NDArray[np.float64]
    images: NDArray[np.int64]
    flags: dict[str, int] = field(default_factory=dict)

    def keep(self, rows: NDArray[np.bool_]) -> Self:
        """Return the comparisons of the chosen images."""
        return replace(
            self, distances=self.distances[:, :, rows][..., rows], varieties=self.varieties[:, rows], images=self.images[rows]
        )  # fmt: skip

    def consistency(self) -> NDArray[np.float64]:
        """Return the mean distance over classes and pairs of images of each level, (L,); NaN without a pair."""
        upper = self.distances[..., *np.triu_indices(len(self.images), 1)].reshape(len(self.distances), -1)  # (L, K * pairs)
        return _nanmean(upper)

    def variety(self) -> NDArray[np.float64]:
        """Return the mean variety over images of each level, (L,)."""
        return _nanmean(self.varieties)

    def score(self) -> tuple[float, dict[str, int]]:
        """Return the mean over levels of ln(variety / consistency), and flags.

        A level without a pair of images that share a class is left out. NaN if there is no other, or if a class is the same in
        all images at some level, as in a collapsed encoder.
        """
        consistency, variety = self.consistency(), self.variety()
        collapsed, compared = consistency == 0, np.isfinite(consistency)
        flags = {"collapsed_levels": int(collapsed.sum()), "levels_without_pairs": int((~compared).sum())}
        undefined = collapsed.any() or not compared.any()
        value = np.nan if undefined else float(np.log(variety[compared] / consistency[compared]).mean())
        return value, {name: number for name, number in flags.items() if number}


def _nanmean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis of what is not NaN, NaN where there is nothing."""
    counts = np.isfinite(values).sum(axis=-1)
    return np.where(counts > 0, np.nansum(values, axis=-1) / np.maximum(counts, 1), np.nan)


def compare(pixels: ClassPixels, raw: bool = False) -> Comparisons:
    """Compute the distances and varieties of sampled pixels; with `raw` distances are those of the features as they are."""
    count = max((label for images in pixels.levels for image in images for label in image.classes), default=0)

    def distances(images: list[ImagePixels], label: int) -> NDArray[np.float64]:
        samples = [image.classes.get(label, image.spread[:0]) for image in images]
        return class_distances(samples if raw else [unit(rows) for rows in samples])

    shape = len(pixels.levels), count, len(pixels.images), len(pixels.images)
    by_class = [[distances(images, label) for label in range(1, count + 1)] for images in pixels.levels]
    varieties = np.array([[variety(image.spread) for image in images] for images in pixels.levels])
    zeros = sum(int((~image.spread.any(axis=1)).sum()) for images in pixels.levels for image in images)
    flags = pixels.flags | ({"zero_vectors": zeros} if zeros else {})
    return Comparisons(np.reshape(by_class, shape), varieties, pixels.images, flags)


def compare_maps(maps: Sequence[Numbers], labels: Sequence[NDArray[np.int64]], raw: bool = False) -> Comparisons:
    """Compare all pixels of maps; arguments as of `ccfv`."""
    for level, grid in zip(maps, labels, strict=True):
        if level.ndim != 4 or grid.shape != (len(level), *level.shape[2:]) or not level.size or not np.isfinite(level).all():
            raise ValueError(f"expected finite maps (n, D, h, w) and labels (n, h, w), but got {level.shape} and {grid.shape}")

    def all_pixels(image: Numbers, grid: NDArray[np.int64]) -> ImagePixels:
        rows = image.reshape(len(image), -1).T  # (h * w, D)
        classes, spread = choose_pixels(grid.ravel(), np.arange(grid.size, dtype=np.float64))
        return ImagePixels({label: rows[chosen] for label, chosen in classes.items()}, rows[spread])

    levels = [list(map(all_pixels, level, grids)) for level, grids in zip(maps, labels, strict=True)]
    return compare(ClassPixels(levels, np.arange(len(maps[0]))), raw)


def ccfv(maps: Sequence[Numbers], labels: Sequence[NDArray[np.int64]], raw: bool = False) -> tuple[float, dict[str, int]]:
    """Compute T = mean over levels of ln(F_v / C_cons).

    C_cons is the mean over foreground classes and pairs of images of the 2-Wasserstein distance between Gaussians of the class's
    pixels, F_v the mean over images of the inverse hyperspherical energy of all pixels.

    Args:
        maps: features (n, D, h, w) per level, finite.
        labels: labels (n, h, w) per level, on its grid; 0 is background, and pixels labelled IGNORE are left out.
        raw: whether C_cons uses the features as they are, so that their scale counts, instead of unit vectors.

    Returns:
        T, NaN where it is not defined, and the flags of `Comparisons` and of its score.

    Raises:
        ValueError: shapes do not fit, or a feature is not finite.

    Source: Yang et al., MICCAI 2023; the sign so that higher is better, levels weigh the same.
    """
    compared = compare_maps(maps, labels, raw)
    value, flags = compared.score()
    return value, flags | compared.flags


class CCFVOptions(Section):
    """Options of CC-FV, with and without unit vectors."""

    levels: Annotated[int, Field(gt=0)]
    """levels, from the deepest on, that CC-FV is the mean of"""
    class_pixels: Annotated[int, Field(ge=2)]
    """embeddings at most of an image's class, and of its pixels of any label"""
    class_images: Annotated[int, Field(ge=2)]
    """images at most, drawn with the seed"""


class ComparisonSampler:
    """Compares the pixels that another sampler collects."""

    needs: ClassVar[frozenset[str]] = ClassPixelSampler.needs

    def __init__(self, pixels: ClassPixelSampler, raw: bool) -> None:
        """Take the sampler of pixels, which the pass feeds."""
        self._pixels, self._raw = pixels, raw

    def update(self, batch: Batch) -> None:
        """Do nothing: the pass feeds the sampler of pixels."""

    def collect(self) -> Comparisons:
        """Return the comparisons."""
        return compare(self._pixels.collect(), self._raw)


class CCFV(SampledIndicator[Comparisons]):
    """CC-FV of unit vectors on a sample of pixels of some images at the last levels."""

    name: ClassVar[str] = "ccfv"
    needs: ClassVar[frozenset[str]] = ClassPixelSampler.needs
    options: ClassVar[type[Section]] = CCFVOptions
    raw: ClassVar[bool] = False

    def setting(self, options: Options) -> Setting:
        """Return the options of CC-FV."""
        return own_options(options.own).model_dump()

    def sampler(self, context: Context) -> ComparisonSampler:
        """Return the comparisons of sampled pixels."""
        own = own_options(context.options.own)
        pixels = class_pixels(context, own.levels, own.class_pixels, own.class_images)
        return context.samples.share(ComparisonSampler, pixels, self.raw)

    def measure(self, sample: Comparisons, context: Context) -> tuple[float, dict[str, int]]:
        """Compute T."""
        return sample.score()


class RawCCFV(CCFV):
    """CC-FV whose class consistency uses the features as they are; its options are those of `ccfv`."""

    name: ClassVar[str] = "ccfv_raw"
    options: ClassVar[type[Section]] = Section
    raw: ClassVar[bool] = True


def own_options(own: Mapping[str, Section]) -> CCFVOptions:
    """Return the options that both kinds of CC-FV have in common."""
    options = own[CCFV.name]
    assert isinstance(options, CCFVOptions)
    return options
