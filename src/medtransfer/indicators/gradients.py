"""Score of gradients: how well classes cluster, times how much more the second layer of an encoder would change than the first."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Batch, Context
from medtransfer.indicators.friedman_rafsky import first_of_each
from medtransfer.indicators.neighbourhood import neighbourhood
from medtransfer.indicators.sampled import Flags, SampledIndicator
from medtransfer.indicators.samples.first_gradients import FirstGradients, GradientNorms
from medtransfer.indicators.samples.labelled_pixels import LabelledPixels, Pixels, labelled_pixels

SAMPLES = 500  # labelled pixels that distances are learned on
IMAGES = 30  # images whose gradients are averaged
PIXELS = 64  # of each image


@dataclass(frozen=True)
class Adaptability:
    """Labelled pixels, and gradients of some images; the rows are those of both.

    Attributes:
        pixels: labelled pixels.
        gradients: norms of gradients.
    """

    pixels: Pixels
    gradients: GradientNorms

    @property
    def images(self) -> NDArray[np.int64]:
        """Position of the image that each row is of."""
        return np.concatenate([self.pixels.images, self.gradients.images])

    @property
    def flags(self) -> Flags:
        """Those of both."""
        return dict(Counter(self.pixels.flags) + Counter(self.gradients.flags))

    def keep(self, rows: NDArray[np.bool_]) -> Self:
        """Return the chosen rows."""
        cut = len(self.pixels.images)
        return type(self)(self.pixels.keep(rows[:cut]), self.gradients.keep(rows[cut:]))


class AdaptabilitySampler:
    """Joins what the samplers of pixels and of gradients collect."""

    needs: ClassVar[frozenset[str]] = LabelledPixels.needs | FirstGradients.needs

    def __init__(self, pixels: LabelledPixels, gradients: FirstGradients) -> None:
        """Take the samplers, which the pass feeds."""
        self._pixels, self._gradients = pixels, gradients

    def update(self, batch: Batch) -> None:
        """Do nothing: the pass feeds both samplers."""

    def collect(self) -> Adaptability:
        """Return what both collected, with as many pixels of each class, SAMPLES at most."""
        pixels = self._pixels.collect()
        rows = np.zeros(len(pixels.labels), dtype=bool)
        rows[first_of_each(pixels.labels, SAMPLES)] = True
        return Adaptability(pixels.keep(rows), self._gradients.collect())


class Gradients(SampledIndicator[Adaptability]):
    """Product of the posterior after NCA and the ratio of gradients, with both as terms.

    Source: Juodelyte et al., On Dataset Transferability in Medical Image Classification, arXiv:2412.20172. There the images
    have labels, a sixth of them is a batch, and each factor is scaled to [0, 1] over the candidates first; here the pixels of
    an image are a batch, and a value is that of one candidate, whichever others there are.
    """

    name: ClassVar[str] = "gradients"
    needs: ClassVar[frozenset[str]] = AdaptabilitySampler.needs

    def sampler(self, context: Context) -> AdaptabilitySampler:
        """Return the samples of pixels and gradients."""
        assert context.encoder is not None
        gradients = context.samples.share(
            FirstGradients, tuple(context.images), context.encoder, context.classes, context.options.level, PIXELS, IMAGES,
            context.seed,
        )  # fmt: skip
        return context.samples.share(AdaptabilitySampler, labelled_pixels(context), gradients)

    def measure(self, sample: Adaptability, context: Context) -> tuple[float, Flags]:
        """Compute the product."""
        value, flags, _ = self.measure_terms(sample, context)
        return value, flags

    def measure_terms(self, sample: Adaptability, context: Context) -> tuple[float, Flags, dict[str, float]]:
        """Compute the product and both factors."""
        if not len(sample.pixels.labels):
            return float("nan"), {}, {}
        ratio = sample.gradients.ratio()
        posterior, flags = neighbourhood(sample.pixels.features, sample.pixels.labels)
        value = posterior * ratio
        return value, flags, {"posterior": posterior, "ratio": ratio} if np.isfinite(value) else {}
