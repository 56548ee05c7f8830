"""Fine-tune one cell: reuse, resume or train; write its folder and its run.

The libraries of training, which take seconds to load, are imported where a cell is trained.
"""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer import tracking
from medtransfer.data.transform_names import check_transforms
from medtransfer.environment import machine, require_device
from medtransfer.errors import InputError
from medtransfer.finetune.fine_tuning import FineTuning
from medtransfer.finetune.sync import record_of, run_params
from medtransfer.locks import exclusive
from medtransfer.progress import loading
from medtransfer.records import MODEL_FILE, WEIGHTS_FILE, ModelInfo, Result, scratch_folder
from medtransfer.records.weights_file import is_whole
from medtransfer.tasks.results import read_result

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("medtransfer")


def complete(tuning: FineTuning, force: bool) -> tuple[Result, bool]:
    """Return the cell's result, from the store, from its folder or by training, and whether a finished run is reused.

    Args:
        tuning: the cell.
        force: whether to train a finished cell again.
    """
    with exclusive(tuning.folder):
        stored = None if force else _on_disk(tuning)

        def restore(finished: tracking.StoredRun) -> None:
            if stored is None:
                _say_what_is_replaced(tuning)
                _fetch(finished.id, tuning.folder)

        if not force and tracking.reused("finetune", tuning.cell.name, tuning.cell.key, restore):
            result = stored or read_result(tuning.folder / "metrics.json")
            _complete_folder(tuning, result)
            if not result.parts and tuning.section.keep == "weights":
                log.warning(
                    "finetune: the model of %s was not kept (finetune.keep); --force trains it again",
                    tuning.cell.name,
                )
            return result, True
        return _open(tuning, stored, force), False


def _open(tuning: FineTuning, stored: Result | None, force: bool) -> Result:
    """Open the cell's run and finish it with the result on disk, or by training if there is none."""
    start = stored or _begin(tuning)
    if stored is None:
        _say_what_is_replaced(tuning)
    params = run_params(tuning.cell, tuning.protocol, tuning.target.info.task, tuning.class_names, tuning.target.info.regions)
    with tracking.open_run("finetune", tuning.cell.name, tuning.cell.key, params, {}, on_disk=True) as handle:
        if force:
            _remove_state(tuning.folder)  # an interrupted training is not resumed
        result = start if isinstance(start, Result) else _do(tuning, start, handle, None if force else _find_twin(tuning))
        _complete_folder(tuning, result)
        _remove_state(tuning.folder)
        record = record_of(result, tuning.folder, tuning.target.folder.parent)
        handle.set_tags(record.tags if stored else {**record.tags, "machine": machine()})
        handle.log_record(record if stored else replace(record, curves={}))  # a training has logged its curves already
    return result


def _say_what_is_replaced(tuning: FineTuning) -> None:
    """Say that the folder holds the model of other options, since its name has only the checkpoint, the mode and the seed."""
    try:
        other = read_result(tuning.folder / "metrics.json").key != tuning.cell.key
    except InputError:  # there is none
        return
    if other:
        log.info(
            "finetune: %s holds the model of other options or data, which this training replaces; its run stays in the tracking "
            "store", tuning.folder,
        )  # fmt: skip


def _begin(tuning: FineTuning) -> "nn.Module":
    """Return the model to train; a missing device, an unknown transform and invalid weights raise before a run is opened."""
    require_device(tuning.section.accelerator, tuning.section.precision)
    with loading("finetune"):
        if tuning.protocol.augmentation is not None:
            check_transforms(tuning.protocol.augmentation)  # before the rest is loaded
        from medtransfer.finetune.train import build_model
        from medtransfer.training.device import open_fabric
    open_fabric(tuning.section.accelerator, 1, tuning.section.precision)
    return build_model(tuning)


def _complete_folder(tuning: FineTuning, result: Result) -> None:
    """Write the record that models of earlier versions lack, or that says less than the target does by now."""
    path = tuning.folder / MODEL_FILE
    if result.parts and not _describes(path, tuning):
        from medtransfer.finetune.model import write_model

        write_model(tuning, result.parts)
        log.info("finetune: wrote %s", path)


def _describes(path: Path, tuning: FineTuning) -> bool:
    try:
        info = ModelInfo.read(path)
    except InputError:
        return False
    return info.key == tuning.cell.key and (info.image_rule is not None or tuning.target.info.image_rule is None)


def _do(tuning: FineTuning, model: "nn.Module", handle: tracking.Run, twin: str | None) -> Result:
    """Train and evaluate, or only evaluate the model of a run that was trained in the same way."""
    from medtransfer.finetune.train import test_again, train

    if twin is None:
        return train(tuning, model, handle)
    log.info("finetune: %s was trained before (run %s), and is evaluated on other samples", tuning.cell.name, twin)
    with tracking.artifact_folder(twin, "model") as folder:
        return test_again(tuning, model, folder, handle)


def _find_twin(tuning: FineTuning) -> str | None:
    """Return the id of a run of the same training, evaluated on other samples, whose weights were kept."""
    run = tracking.find_finished("finetune", tuning.twin.key)
    if run is None:
        return None
    try:
        with tracking.artifact_folder(run.id, "model") as folder:
            kept = bool(read_result(folder / "metrics.json").parts) and (folder / WEIGHTS_FILE).exists()
    except InputError as error:
        log.warning("finetune: %s is trained again, since %s", tuning.cell.name, error)
        return None
    return run.id if kept else None


def _remove_state(folder: Path) -> None:
    """Remove the files of an unfinished training: the state to resume from, the best weights, half-written files."""
    for stray in folder.glob(".*"):
        stray.unlink()


def _on_disk(tuning: FineTuning) -> Result | None:
    path = tuning.folder / "metrics.json"
    if not path.exists():
        return None
    result = read_result(path)
    complete = not result.parts or is_whole(tuning.folder / WEIGHTS_FILE)
    return result if result.key == tuning.cell.key and complete else None


def _fetch(run: str, folder: Path) -> None:
    """Download a finished run's model to its folder, replacing leftovers of an interrupted process."""
    with scratch_folder(folder) as scratch:
        tracking.fetch_artifacts(run, "model", scratch)
        result = read_result(scratch / "model" / "metrics.json")
        if result.parts and not is_whole(scratch / "model" / WEIGHTS_FILE):
            raise InputError(
                f"expected a whole model in {folder}, but its weights are cut off or gone, also in the tracking store; --force "
                "trains it again"
            )
        shutil.rmtree(folder, ignore_errors=True)
        (scratch / "model").rename(folder)
