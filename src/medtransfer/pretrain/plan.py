"""Plan of one supervised pretraining: params, recipe, images, folder and stopping rule."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medtransfer.config import Pretrain
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.hashing import digest
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.recipe import Recipe, recipe_of
from medtransfer.pretrain.stopping import Stopper
from medtransfer.records import Provenance, series_folder


@dataclass(frozen=True)
class TrainingPlan:
    """One supervised pretraining.

    Attributes:
        section: validated params.
        recipe: everything that its bits depend on, except the images.
        images: source images of the splits `train` and `val`.
        stopper: a rule on a prepared target, None to train to the last epoch.
        force: train again although it is finished.
    """

    section: Pretrain
    recipe: Recipe
    images: dict[str, SourceImages]
    stopper: Stopper | None
    force: bool

    @classmethod
    def of(cls, section: Pretrain, stopper: Stopper | None, force: bool) -> "TrainingPlan":
        """Open the source images of a section and build its recipe."""
        recipe = recipe_of(section)
        images = {
            split: SourceImages(
                Path(section.source_root), split, recipe.size, mean=recipe.mean, std=recipe.std, train=split == "train",
                randaugment=recipe.randaugment, seed=recipe.seed,
            )
            for split in ("train", "val")
        }  # fmt: skip
        return cls(section, recipe, images, stopper, force)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the source images."""
        return self.images["train"].fingerprint()

    @cached_property
    def checkpoints(self) -> CheckpointFolder:
        """Folder of the checkpoints."""
        path = series_folder(Path(self.section.out), self.recipe.encoder, self.recipe.origin)
        return CheckpointFolder(path, self.recipe.digest(self.fingerprint), self.recipe.checkpoints)

    @property
    def cell(self) -> str:
        """Digest of the run in the tracking store."""
        rule = self.stopper.identity if self.stopper else None
        return digest([self.checkpoints.pretraining, self.checkpoints.epochs, rule], 16)

    @property
    def provenance(self) -> Provenance:
        """Fields of the checkpoints' records that do not change by epoch."""
        return Provenance(
            encoder=self.recipe.encoder, origin=self.recipe.origin, kind=self.section.origins[self.recipe.origin].kind,
            source=self.section.source,
            source_classes=list(self.images["train"].classes), input=self.recipe.input, seed=self.recipe.seed,
            pretraining=self.checkpoints.pretraining,
        )  # fmt: skip
