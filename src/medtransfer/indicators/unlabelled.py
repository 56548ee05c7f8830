"""Base classes of indicators without labels: of pixel embeddings, and of pooled embeddings of views."""

from typing import ClassVar

from medtransfer.indicators.contract import Context
from medtransfer.indicators.sampled import SampledIndicator
from medtransfer.indicators.samples.pixels import Embeddings, PlainPixels, plain_pixels
from medtransfer.indicators.samples.view_pairs import ViewPairs, Views, view_pairs


class PixelIndicator(SampledIndicator[Embeddings]):
    """An indicator of pixel embeddings of the images as they are."""

    needs: ClassVar[frozenset[str]] = PlainPixels.needs

    def sampler(self, context: Context) -> PlainPixels:
        """Return the sample of pixels."""
        return plain_pixels(context)


class ViewIndicator(SampledIndicator[Views]):
    """An indicator of pooled embeddings of the views of images."""

    needs: ClassVar[frozenset[str]] = ViewPairs.needs

    def sampler(self, context: Context) -> ViewPairs:
        """Return the sample of views."""
        return view_pairs(context)
