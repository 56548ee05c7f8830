"""A fine-tuning to do: the cell and its inputs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.config import Finetune
from medtransfer.finetune.protocol import Protocol
from medtransfer.modes import MODES, Mode
from medtransfer.records import Cell, CheckpointInfo, PreparedTarget
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import Task

if TYPE_CHECKING:
    from medtransfer.data.epochs import Samples


@dataclass(frozen=True)
class FineTuning:
    """A cell and its inputs.

    Attributes:
        cell: everything that the result depends on.
        section: validated params; only those that no result depends on are used.
        protocol: the recipe.
        target: the opened and verified target.
        checkpoint: path of the checkpoint's record.
        info: its contents.
    """

    cell: Cell
    section: Finetune
    protocol: Protocol
    target: PreparedTarget
    checkpoint: Path
    info: CheckpointInfo

    @property
    def folder(self) -> Path:
        """Folder of the trained model."""
        return self.cell.folder(Path(self.section.out))

    @property
    def twin(self) -> Cell:
        """The cell of the same training whose model is evaluated on other samples."""
        other = "test" if self.protocol.evaluate == "validation" else "validation"
        return replace(self.cell, protocol=replace(self.protocol, evaluate=other).key)

    @property
    def task(self) -> Task:
        """Task of the target."""
        return TASKS[self.target.info.task]

    @property
    def mode(self) -> Mode:
        """Mode of transfer."""
        return MODES[self.cell.mode]

    @property
    def decoder(self) -> str | None:
        """Name of the model's decoder; None for the encoder's own, or the task's head."""
        return self.protocol.decoder or self.mode.head

    @property
    def class_names(self) -> list[str]:
        """Classes that the model learns."""
        return self.target.info.classes

    @property
    def parts(self) -> list[str]:
        """Parts of the model whose weights are kept."""
        if self.section.keep == "metrics":
            return []
        return ["decoder"] if self.mode.encoder_frozen else ["encoder", "decoder"]

    def samples(self, split: str, *, augment: bool = False, ten_crop: bool = False) -> "Samples":
        """Open a split, normalised like the checkpoint's images, channel by channel."""
        mean, std = self.info.input["mean"], self.info.input["std"]
        return self.task.samples(
            self.target, split, augment=augment, mean=mean, std=std, seed=self.cell.seed,
            transforms=self.protocol.augmentation, ten_crop=ten_crop,
        )  # fmt: skip
