"""Registry of the kinds of origins of encoder weights, which `pretrain.origins` of the params may name."""

from pathlib import Path
from typing import Protocol

from medtransfer.config import ContinuedOrigin, Pretrain, Section, SupervisedOrigin
from medtransfer.config.schema import (
    ClassificationOrigin,
    ConRecOrigin,
    MaskedOrigin,
    ReconstructionOrigin,
    SegmentationOrigin,
    SimCLROrigin,
)
from medtransfer.pretrain.origins.catalogue import Published
from medtransfer.pretrain.origins.fused import Fused
from medtransfer.pretrain.origins.package import InstalledPackage
from medtransfer.pretrain.origins.soup import Soup
from medtransfer.pretrain.origins.trained import Trained
from medtransfer.pretrain.origins.weights_file import WeightsFile, WeightsSeries
from medtransfer.pretrain.stopping import Stopper


class Origin(Protocol):
    """One kind of origin."""

    @property
    def section(self) -> type[Section]:
        """Schema of an entry of `pretrain.origins` of this kind."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the model that its checkpoints hold; `encoder` is among them."""
        ...

    @property
    def trains(self) -> bool:
        """Whether it trains on the source images, so that a stopping rule may end it early."""
        ...

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the epochs of all checkpoints that the section's origin makes, ascending, including 0."""
        ...

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Make the checkpoints of the section's encoder and origin, or reuse them; return their folder.

        Raises:
            InputError: an input is missing or does not fit; nothing is written then.
        """
        ...


ORIGINS: dict[str, Origin] = {
    "supervised": Trained("classification:Classification", SupervisedOrigin, "classes"),
    "continued": Trained("classification:Classification", ContinuedOrigin, "classes"),
    "file": WeightsFile(), "series": WeightsSeries(),
    "package": InstalledPackage(), "catalogue": Published(), "soup": Soup(), "fused": Fused(),
    "simclr": Trained("simclr:SimCLR", SimCLROrigin),
    "reconstruction": Trained("reconstruction:Reconstruction", ReconstructionOrigin),
    "conrec": Trained("conrec:ConRec", ConRecOrigin),
    "segmentation": Trained("segmentation:SourceSegmentation", SegmentationOrigin, "masks"),
    "masked": Trained("masked:MaskedPatches", MaskedOrigin),
    "classification": Trained("classification:Classification", ClassificationOrigin, "classes"),
}  # fmt: skip
