"""The finetune section and a list of cells go in; a trained model, a record and a finished run a cell come out."""

import logging
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Finetune
from medtransfer.errors import InputError
from medtransfer.finetune.cell import Task, complete
from medtransfer.finetune.protocol import Protocol
from medtransfer.records import Cell, PreparedTarget, Result, find_checkpoint, series_folder
from medtransfer.training.device import open_fabric

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Wanted:
    """One cell as the user names it."""

    target: str
    encoder: str
    origin: str
    epoch: int
    mode: str
    seed: int


def run(section: Finetune, wanted: Iterable[Wanted], checkpoints: Path, prepared: Path, force: bool = False) -> list[Result]:
    """Fine-tune every wanted cell, or reuse what is finished.

    Args:
        section: validated params; its cell fields are overruled by `wanted`.
        wanted: the cells.
        checkpoints: folder of all pretrainings.
        prepared: folder of all prepared targets.
        force: train although a cell is finished.

    Returns:
        The results, in the order of `wanted`.
    """
    protocol = Protocol.of(section)
    open_fabric(section.accelerator, 1, section.precision)
    tasks = [_task(section, protocol, one, checkpoints, prepared) for one in wanted]  # every fault shows before any work
    for task in {(task.checkpoint, task.target.folder): task for task in tasks}.values():
        task.info.check_size(*task.target.info.input)
    results = []
    # A run that `mlflow run` opened becomes the cell's; with several cells it is none of theirs: its params may be lists.
    with tracking.project_run_set_aside() if len(tasks) > 1 else nullcontext():
        for number, task in enumerate(tasks, start=1):
            result = complete(task, force)
            log.info("finetune %d/%d %s: Dice %.4f", number, len(tasks), task.cell.name, result.metrics["dice"])
            results.append(result)
    return results


def _task(section: Finetune, protocol: Protocol, wanted: Wanted, checkpoints: Path, prepared: Path) -> Task:
    target = PreparedTarget.open(prepared / wanted.target).verify()
    if protocol.select == "validation" and "validation" not in set(target.index["split"]):
        raise InputError(
            f"expected validation samples in {target.folder}, since finetune.select is `validation`, but there are none; "
            "prepare the target with `validation` above 0"
        )
    path, info = find_checkpoint(series_folder(checkpoints, wanted.encoder, wanted.origin), wanted.epoch)
    cell = Cell(
        source=info.source, origin=info.origin, encoder=info.encoder, epoch=info.epoch, target=wanted.target, mode=wanted.mode,
        seed=wanted.seed, protocol=protocol.key, pretraining=info.pretraining, weights=info.weights,
        data=target.info.fingerprint,
    )  # fmt: skip
    folder = series_folder(Path(section.out) / wanted.target, wanted.encoder, wanted.origin)
    return Task(cell, section, protocol, target, path, info, folder / f"e{wanted.epoch:03d}-{wanted.mode}-s{wanted.seed}")
