"""Plan of one pretraining: params, recipe, objective with its images, folder and stopping rule."""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.config import Pretrain
from medtransfer.data.source_folders import source_fingerprint
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.recipe import Recipe, check_size, recipe_of
from medtransfer.pretrain.start import Start, find_start, parent_origin, source_of
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.weights_files import name_unwatched
from medtransfer.records import Provenance, series_folder
from medtransfer.records.lineage import PARENT, Parent
from medtransfer.records.pretraining import recorded_source

if TYPE_CHECKING:
    from medtransfer.pretrain.objectives.contract import Objective
    from medtransfer.pretrain.origins.trained import Trained

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class TrainingPlan:
    """One pretraining.

    Attributes:
        section: validated params.
        recipe: everything that its bits depend on, except the images.
        origin: kind of the origin, which names the objective.
        start: checkpoint that it continues from, None to start at random.
        stopper: a rule on a prepared target, None to train to the last epoch.
        force: train again although it is finished.
    """

    section: Pretrain
    recipe: Recipe
    origin: "Trained"
    start: Start | None
    stopper: Stopper | None
    force: bool

    @classmethod
    def of(
        cls, section: Pretrain, origin: "Trained", stopper: Stopper | None, force: bool
    ) -> "TrainingPlan":  # fmt: skip
        """Build the recipe of a section; nothing of what training needs is loaded yet."""
        recipe, start = recipe_of(section), find_start(section)
        if start:
            if parent_origin(section) is None:
                name_unwatched(section, [start.path])
            recipe = recipe.continuing(start.info.input)
            if recipe.size != section.size:
                log.info(
                    "pretrain: images of %d pixels as in %s, not of pretrain.size %d", recipe.size, start.path, section.size
                )  # fmt: skip
        return cls(section, recipe, origin, start, stopper, force)

    def check_encoder(self) -> None:
        """Check the encoder before the rest is loaded that trains it, and before checkpoints of other settings are moved aside.

        Raises:
            InputError: it cannot be built, does not take images of this size, or is not that of the weights to continue from.
        """
        from medtransfer.encoders.build import build_encoder
        from medtransfer.encoders.without_values import without_values

        with without_values():
            encoder = build_encoder(self.recipe.build, **self.recipe.arguments)
        check_size(encoder, self.recipe.size)
        if self.start is None:
            return
        info = self.start.info
        if (encoder.name, encoder.arguments) != (info.build, info.arguments):
            raise InputError(
                f"expected weights of the encoder {self.recipe.encoder} ({encoder.name}, {encoder.arguments}) to continue from, "
                f"but those of {self.start.path} are of another architecture ({info.build}, {info.arguments}); name that "
                "encoder with --encoder, or other weights with --from"
            )

    @cached_property
    def objective(self) -> "Objective":
        """What is learned, with the source images of the splits `train` and `val`."""
        return self.origin.objective.open(source_of(self.section)[1], self.recipe)

    @property
    def source(self) -> str:
        """Name of the source dataset."""
        return source_of(self.section)[0]

    @property
    def parents(self) -> list[Parent]:
        """Checkpoints that it continues from, oldest first."""
        if self.start is None:
            return []
        info = self.start.info
        return [*info.parents, {name: getattr(info, name) for name in PARENT}]

    @property
    def lineage(self) -> list[str]:
        """Weights files that it continues from, oldest first."""
        if self.start is None:
            return []
        path, info = self.start
        return [*info.lineage, f"{path.parent.name}/{path.with_suffix('.safetensors').name} {info.weights}"]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the source images; where they are not here, that of the finished pretraining in the folder."""
        name, root = source_of(self.section)
        if not root.exists() and (recorded := recorded_source(self._folder, name, root)):
            log.info("pretrain: %s is not here; what was trained in %s is compared without it", root, self._folder)
            return recorded
        return source_fingerprint(root, self.origin.learned)

    @property
    def _folder(self) -> Path:
        return series_folder(Path(self.section.out), self.recipe.encoder, self.recipe.origin)

    @cached_property
    def checkpoints(self) -> CheckpointFolder:
        """Folder of the checkpoints."""
        start = self.start.info.weights if self.start else None
        return CheckpointFolder(self._folder, self.recipe.digest(self.fingerprint, start), self.recipe.checkpoints)

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
            source=self.source, source_classes=list(self.objective.classes), input=self.recipe.input, seed=self.recipe.seed,
            pretraining=self.checkpoints.pretraining, lineage=self.lineage, parents=self.parents,
            licence=self.start.info.licence if self.start else "",
        )  # fmt: skip
