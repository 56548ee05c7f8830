"""What fine-tuning requires of a target, most of which shows before there are checkpoints."""

import logging
from collections.abc import Iterable
from pathlib import Path

from medtransfer.config import Finetune
from medtransfer.config.loaded_files import prepare_command
from medtransfer.data.transform_names import check_transforms
from medtransfer.decoders import require_head
from medtransfer.errors import InputError
from medtransfer.finetune.portions import both_validations
from medtransfer.finetune.protocol import Protocol
from medtransfer.modes import MODES
from medtransfer.records import TARGET_FILE, CellName, PreparedTarget
from medtransfer.tasks import TASKS
from medtransfer.wording import did_you_mean

log = logging.getLogger("medtransfer")


def check_targets(section: Finetune, cells: Iterable[CellName], prepared: Path) -> None:
    """Refuse a recipe that does not fit the prepared targets of cells, before their checkpoints are made.

    Which sizes of images an encoder takes, and how groups and images can be divided, show later.

    Args:
        section: validated params; its cell fields are ignored.
        cells: cells to fine-tune.
        prepared: folder of all prepared targets.

    Raises:
        InputError: as `check_recipe`; or a target is broken, or the recipe or a mode is not for it.
    """
    protocol, cells = Protocol.of(section), list(cells)
    check_recipe(section, cells)
    for cell in {(cell.target, cell.mode, cell.folds is None): cell for cell in cells}.values():
        if (prepared / cell.target / TARGET_FILE).exists():
            target = open_target(prepared / cell.target, protocol)
            check_mode(cell, target)
            if protocol.needs_validation and cell.folds is None and not protocol.validation:
                _require_validation(target, protocol)


def check_recipe(section: Finetune, cells: Iterable[CellName]) -> None:
    """Refuse what no target would take: a loss of no task, an unknown transform, and held-out groups beside folds."""
    losses = dict.fromkeys(loss for task in TASKS.values() for loss in task.losses)
    if section.loss is not None and section.loss not in losses:
        raise InputError(
            f"expected finetune.loss to be one of {', '.join(losses)}, or null, but got {section.loss!r}"
            f"{did_you_mean(section.loss, losses)}; correct it"
        )
    if section.augmentation is not None:
        check_transforms(section.augmentation)
    if section.validation and any(cell.folds is not None for cell in cells):
        raise both_validations(section.validation)


def open_target(folder: Path, protocol: Protocol) -> PreparedTarget:
    """Open a prepared target.

    Raises:
        InputError: it is missing, its task is unknown, or the recipe is not for its task or its classes.
    """
    target = PreparedTarget.open(folder)
    task = target.info.task
    if task not in TASKS or TASKS[task].labels_file not in target.info.arrays:
        known = ", ".join(f"{name} with {task.labels_file}" for name, task in TASKS.items())
        raise InputError(
            f"expected a task with its labels ({known}) in {folder / TARGET_FILE}, but got {task!r} with "
            f"{', '.join(sorted(target.info.arrays)) or 'no arrays'}; make the target again with "
            f"`{prepare_command(folder.name, '--force')}`"
        )
    if not target.info.classes:
        raise InputError(
            f"expected at least one class in {folder / TARGET_FILE}, but `classes` is empty; make the target again with "
            f"`{prepare_command(folder.name, '--force')}`"
        )
    if protocol.loss is not None and protocol.loss not in TASKS[task].losses:
        raise InputError(
            f"expected finetune.loss to be one of {', '.join(TASKS[task].losses)} for the task {task} ({folder}), or null, "
            f"but got {protocol.loss!r}{did_you_mean(protocol.loss, TASKS[task].losses)}"
        )
    if TASKS[task].linear:
        require_head(protocol.decoder)
    weighted = TASKS[task].weighted(target.info.classes)
    if protocol.class_weights is not None and len(protocol.class_weights) != len(weighted):
        raise InputError(
            f"expected {len(weighted)} finetune.class_weights for {folder}, of {' and '.join(weighted)}, but got "
            f"{protocol.class_weights}; correct them"
        )
    if not TASKS[task].linear and (protocol.ten_crop or protocol.label_smoothing):
        raise InputError(
            f"expected finetune.ten_crop false and finetune.label_smoothing 0 for the task {task} ({folder}), since they are for "
            f"labels of images, but got {str(protocol.ten_crop).lower()} and {protocol.label_smoothing:g}; set them so"
        )
    return target


def check_mode(cell: CellName, target: PreparedTarget) -> None:
    """Raise InputError if the mode of a cell is not for the task of its target."""
    mode, task = MODES[cell.mode], target.info.task
    if mode.on_features and not TASKS[task].linear:
        raise InputError(
            f"expected a target with labels of images for the mode {cell.mode}, whose head is on features of whole images, but "
            f"{target.folder} is for {task}; take the mode decoder"
        )
    if mode.decoder_transferred and TASKS[task].linear:
        raise InputError(
            f"expected a target with masks for the mode {cell.mode}, whose decoder comes from the checkpoint, but "
            f"{target.folder} is for {task}; take the mode full"
        )


def check_samples(target: PreparedTarget, protocol: Protocol) -> None:
    """Check the samples of a cell.

    Raises:
        InputError: the validation samples that the protocol needs are missing, or labels cannot be learned or judged.
    """
    present = _require_validation(target, protocol)
    for note in TASKS[target.info.task].check(target, {"train", protocol.evaluate, *({"validation"} & present)}):
        log.warning("finetune: %s", note)


def _require_validation(target: PreparedTarget, protocol: Protocol) -> set[str]:
    """Return the splits of a target, of which the protocol may need one."""
    present = set(target.index["split"])
    if protocol.needs_validation and "validation" not in present:
        raise InputError(
            f"expected validation samples in {target.folder}, since {protocol.needs_validation}, but there are none; "
            "prepare the target with `validation` above 0, or set finetune.validation or finetune.folds"
        )
    return present
