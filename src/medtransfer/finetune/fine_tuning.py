"""A fine-tuning to be done: its cell with everything that computing it takes."""

from dataclasses import dataclass
from pathlib import Path

from medtransfer.config import Finetune
from medtransfer.data.epochs import Samples
from medtransfer.finetune.protocol import Protocol
from medtransfer.modes import MODES, Mode
from medtransfer.records import Cell, CheckpointInfo, PreparedTarget
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import Task


@dataclass(frozen=True)
class FineTuning:
    """A cell with everything that computing it takes.

    Attributes:
        cell: what makes the result.
        section: validated params, for what no result depends on.
        protocol: the recipe.
        target: opened and verified.
        checkpoint: the JSON half of the pretrained weights.
        info: what it says.
    """

    cell: Cell
    section: Finetune
    protocol: Protocol
    target: PreparedTarget
    checkpoint: Path
    info: CheckpointInfo

    @property
    def folder(self) -> Path:
        """The folder of the trained model."""
        return self.cell.folder(Path(self.section.out))

    @property
    def task(self) -> Task:
        """The kind of target."""
        return TASKS[self.target.info.task]

    @property
    def mode(self) -> Mode:
        """The mode of transfer."""
        return MODES[self.cell.mode]

    @property
    def class_names(self) -> list[str]:
        """The classes that the model learns."""
        return self.target.info.classes

    def samples(self, split: str, *, augment: bool = False) -> Samples:
        """Open a split, normalised as the checkpoint's images were."""
        mean, std = self.info.input["mean"], self.info.input["std"]
        return self.task.samples(self.target, split, augment=augment, mean=mean, std=std, seed=self.cell.seed)
