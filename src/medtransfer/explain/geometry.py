"""Geometry of an encoder's features at every level, from samples of one streamed pass over the target."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.explain.quantities import CKA
from medtransfer.indicators.alignment import Alignment
from medtransfer.indicators.contract import Batch, Context, Indicator, Measured, Options
from medtransfer.indicators.samples.pixels import Embeddings, PlainPixels
from medtransfer.indicators.samples.view_pairs import ViewPairs, Views
from medtransfer.indicators.spectrum import rankme
from medtransfer.indicators.uniformity import Uniformity
from medtransfer.metrics.cka import unbiased_cka
from medtransfer.records.scores import Score, Setting

Numbers = NDArray[np.float64]
Flags = dict[str, int]
SAMPLE = "geometry/pixels/{}"  # array of the pixel embeddings of a level, float32 (N, D)


def variance(features: Numbers) -> float:
    """Compute the variance of features (N, D) over the samples (ddof 1), averaged over channels; NaN of a single sample."""
    return float(features.var(axis=0, ddof=1).mean()) if len(features) > 1 else float("nan")


class Geometry(Indicator):
    """Variance, effective rank, alignment, uniformity, and CKA to a reference, by level.

    The sampled pixels depend on the images and the seed only, so those of two checkpoints of an encoder are the same.
    """

    name: ClassVar[str] = "geometry"
    needs: ClassVar[frozenset[str]] = PlainPixels.needs | ViewPairs.needs

    def __init__(self, levels: int, reference: Mapping[int, NDArray[np.float32]] | None) -> None:
        """Take what CKA compares with.

        Args:
            levels: number of levels of the encoder.
            reference: pixel embeddings (N, D) of another checkpoint by level; None to compare with these ones.
        """
        self.levels = tuple(range(-1, -levels - 1, -1))
        self.reference = reference

    def metrics(self, options: Options) -> dict[str, Setting]:
        """Return no metrics: the values are looked up by level."""
        return {}

    def begin(self, context: Context) -> "GeometryMeasurement":
        """Start a measurement."""
        return GeometryMeasurement(self, context)


class GeometryMeasurement:
    """Computes the quantities once the samples of all levels are complete."""

    def __init__(self, geometry: Geometry, context: Context) -> None:
        """Start the samplers of every level."""
        self._geometry, self._context = geometry, context
        images, most, seed = tuple(context.images), context.options.pixels, context.seed
        share = context.samples.share
        self._samplers = {
            level: (
                share(PlainPixels, images, level, most, seed),
                share(ViewPairs, len(images), context.repeats, level, most, seed),
            )
            for level in geometry.levels
        }

    def update(self, batch: Batch) -> None:
        """Do nothing: the pass feeds the shared samplers."""

    def compute(self) -> Measured:
        """Return one score per quantity and level, and the pixel embeddings."""
        rows, arrays = [], {}
        for level, samplers in self._samplers.items():
            pixels, views = (self._context.samples.collect(sampler) for sampler in samplers)
            own = pixels.features.astype(np.float32)
            reference = own if self._geometry.reference is None else self._geometry.reference[level]
            rows += _scores(level, pixels, views, reference.astype(np.float64), self._context)
            arrays[SAMPLE.format(level)] = own
        return Measured(self._context.images, rows, arrays)


def _scores(level: int, pixels: Embeddings, views: Views, reference: Numbers, context: Context) -> list[Score]:
    """Compute every quantity; features that are not finite leave it undefined, since zeros stand in for them."""
    measured: dict[str, tuple[float, Flags]] = {
        "variance": (variance(pixels.features), pixels.flags),
        "effective_rank": _with(rankme(pixels.features, centre=True), pixels.flags),
        "alignment": _with(Alignment().measure(views, context), views.flags),
        "uniformity": _with(Uniformity().measure(views, context), views.flags),
        CKA: (unbiased_cka(pixels.features, reference), pixels.flags),
    }
    return [
        Score(name, {"level": level}, value if np.isfinite(value) and "nonfinite" not in flags else None, flags=flags)
        for name, (value, flags) in measured.items()
    ]


def _with(measured: tuple[float, Flags], flags: Flags) -> tuple[float, Flags]:
    return measured[0], measured[1] | flags
