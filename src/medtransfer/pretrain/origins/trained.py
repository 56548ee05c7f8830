"""Origins that train on the source images: an objective, from a random initialisation or continued from a checkpoint.

In-domain weights come about by continuing: photographs, then chest X-rays, then a target. Source: Hosseinzadeh Taher et al. 2021
(arXiv 2108.05930), section 3, who continue from supervised ImageNet weights.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, ClassVar

from medtransfer.config import Pretrain, TrainedOrigin
from medtransfer.data.source_folders import Learned
from medtransfer.environment import require_device
from medtransfer.launchers import is_main_process, require_machines, require_processes
from medtransfer.locks import exclusive
from medtransfer.pretrain.epochs import planned_epochs
from medtransfer.pretrain.plan import TrainingPlan
from medtransfer.pretrain.reuse import reuse
from medtransfer.pretrain.start import check_encoder
from medtransfer.pretrain.stopping import Stopper
from medtransfer.progress import loading

if TYPE_CHECKING:
    from medtransfer.pretrain.objectives.contract import Objective


@dataclass(frozen=True)
class Trained:
    """The model of an objective, trained on the source images; see `Origin`.

    Attributes:
        address: module in `pretrain.objectives` and class of what is learned; loaded when there is something to train.
        section: schema of its params.
        learned: what of the source is learned, on which its digest depends.
    """

    address: str
    section: type[TrainedOrigin]
    learned: Learned = "pictures"
    trains: ClassVar[bool] = True

    @property
    def objective(self) -> "type[Objective]":
        """What is learned."""
        found: type[Objective] = resolve_name(f"medtransfer.pretrain.objectives.{self.address}")
        return found

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the objective's model."""
        return self.objective.parts

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the epochs that a training to the end saves."""
        return planned_epochs(section)

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Pretrain, resume or reuse."""
        several = section.num_nodes > 1
        reason = "pretrain.devices x pretrain.num_nodes" if several else "pretrain.devices"
        require_processes(section.processes, reason, section.num_nodes)
        plan = TrainingPlan.of(section, self, stopper, force)
        checkpoints = plan.checkpoints
        with exclusive(checkpoints.path) if is_main_process() else nullcontext():
            if force or not reuse(checkpoints, plan.cell):
                check_encoder(section)
                require_machines(section.num_nodes)
                require_device(section.accelerator, plan.recipe.precision)
                with loading("pretrain"):
                    plan.check_encoder()
                    from medtransfer.pretrain.training import train

                    _ = plan.origin.objective
                train(plan)
        return checkpoints.path
