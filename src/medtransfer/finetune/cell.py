"""One cell goes in; its trained model's folder and its finished run come out, both once, whatever was interrupted."""

import logging
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from lightning_fabric import Fabric
from torch import nn

from medtransfer import tracking
from medtransfer.config import Finetune
from medtransfer.data.target_samples import TargetSamples
from medtransfer.decoders.build import build_segmenter
from medtransfer.encoders.freezing import freeze, state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.environment import git_revision
from medtransfer.errors import StageError
from medtransfer.finetune.evaluation import evaluate
from medtransfer.finetune.overlays import draw_overlays
from medtransfer.finetune.protocol import Protocol
from medtransfer.finetune.sync import record_of
from medtransfer.finetune.trainer import Curves, Trainer
from medtransfer.finetune.validation import BestWeights
from medtransfer.locks import only_one
from medtransfer.records import Cell, CheckpointInfo, PreparedTarget, Result, scratch_folder, write_tensors, write_text
from medtransfer.seeds import derive_seed
from medtransfer.training.checkpoints import load_encoder
from medtransfer.training.device import open_fabric

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Task:
    """A cell with everything that computing it takes."""

    cell: Cell
    section: Finetune
    protocol: Protocol
    target: PreparedTarget
    checkpoint: Path
    info: CheckpointInfo
    folder: Path


def complete(task: Task, force: bool) -> Result:
    """Give the cell's result: from the store, from the folder, or by training.

    Args:
        task: the cell.
        force: train although it is finished.
    """
    with only_one(task.folder):
        return _complete(task, force)


def _complete(task: Task, force: bool) -> Result:
    known = None if force else _on_disk(task)
    finished = None if force else tracking.find_finished("finetune", task.cell.key)
    if finished:
        if known is None:
            _fetch(finished.id, task.folder)
            known = Result.read(task.folder / "metrics.json")
        log.info("finetune: %s is finished (run %s): reused; --force does it again", task.cell.name, finished.id)
        tracking.note_reuse("finetune", finished.id)
        return known
    params = {**asdict(task.cell), **asdict(task.protocol), "classes": len(task.target.info.classes)}
    with tracking.open_run("finetune", task.cell.name, task.cell.key, params, {}) as handle:
        if force:
            _sweep(task.folder)  # an interrupted training of before is not gone on with
        result = known or _train(task, handle)
        _sweep(task.folder)
        record = record_of(result, task.folder, task.target.folder.parent)
        handle.log_record(record if known else replace(record, curves={}))  # a training logs its curves as it goes
    return result


def _log_curves(handle: tracking.Run, curves: Curves) -> None:
    handle.log_curves({name: dict(enumerate(curve, start=1)) for name, curve in curves.items()})


def _sweep(folder: Path) -> None:
    """Remove what only an unfinished training needs: the state to resume from, the best weights, half-written files."""
    for stray in folder.glob(".*"):
        stray.unlink()


def _on_disk(task: Task) -> Result | None:
    path = task.folder / "metrics.json"
    if not path.exists():
        return None
    result = Result.read(path)
    return result if result.key == task.cell.key and (task.folder / "weights.safetensors").exists() else None


def _fetch(run: str, folder: Path) -> None:
    """Put a finished run's model in its folder, in place of whatever an interrupted process left there."""
    with scratch_folder(folder) as place:
        tracking.fetch_artifacts(run, "model", place)
        Result.read(place / "model" / "metrics.json")
        shutil.rmtree(folder, ignore_errors=True)
        (place / "model").rename(folder)


def _train(task: Task, handle: tracking.Run) -> Result:
    """Train, evaluate after the last epoch on the test samples, and write the folder; metrics.json comes last."""
    begin = time.monotonic()
    section, info, cell = task.section, task.target.info, task.cell
    fabric = open_fabric(section.accelerator, 1, section.precision)
    encoder = load_encoder(task.checkpoint, task.info)
    segmenter = build_segmenter(encoder, len(info.classes), task.protocol.decoder)
    initialise(segmenter.decoder, derive_seed(cell.seed, "decoder"))
    if cell.mode == "decoder":
        freeze(segmenter.encoder)
    hashes = [state_hash(segmenter.encoder)]
    (task.folder / "metrics.json").unlink(missing_ok=True)
    contract = {"mean": task.info.input["mean"], "std": task.info.input["std"], "seed": cell.seed}
    samples = TargetSamples(task.target, "train", augment=True, **contract)
    state = task.folder / ".resume.safetensors"
    trainer = Trainer(fabric, segmenter, samples, len(info.classes), task.protocol, cell.seed, state, cell.key, section.workers)
    _log_curves(handle, trainer.curves)  # of the epochs before an interruption
    validation = _Validation(task, fabric, segmenter, trainer.curves.get("validation_dice", []), contract)

    def observe(epoch: int, values: dict[str, float]) -> None:
        values |= validation.values(trainer.model)
        handle.log_metrics(values, epoch)

    curves = trainer.train(f"finetune {cell.name}", observe)
    validation.restore()
    hashes.append(state_hash(segmenter.encoder))
    if cell.mode == "decoder" and len(set(hashes)) > 1:
        raise StageError(f"the frozen encoder of {cell.name} changed in training: {hashes[0]} became {hashes[1]}")
    test = TargetSamples(task.target, "test", augment=False, **contract)
    evaluation = evaluate(fabric, trainer.model, test, info.classes, section.batch_size, section.workers)
    write_tensors(task.folder / "weights.safetensors", segmenter.state_dict())
    write_text(task.folder / "per_image.csv", pd.DataFrame(evaluation.per_image).to_csv(index=False))
    if section.overlays:
        draw_overlays(
            task.folder / "overlays.png", fabric, trainer.model, test, evaluation, info.classes, contract["mean"],
            contract["std"], section.overlays,
        )  # fmt: skip
    result = Result(
        cell=asdict(cell), key=cell.key, metrics=evaluation.metrics, curves=curves, encoder_hash=hashes,
        settings={**asdict(task.protocol), "class_names": info.classes, "build": task.info.build, "arguments": task.info.arguments},
        seconds=time.monotonic() - begin, git_revision=git_revision(Path.cwd()),
    )  # fmt: skip
    result.write(task.folder / "metrics.json")
    return result


class _Validation:
    """The optional part of the training groups that is not trained on: its curve, and the choice of weights by it."""

    def __init__(self, task: Task, fabric: Fabric, segmenter: nn.Module, earlier: list[float], contract: dict[str, Any]) -> None:
        self.task, self.fabric, self.segmenter = task, fabric, segmenter
        there = "validation" in set(task.target.index["split"])
        self.samples = TargetSamples(task.target, "validation", augment=False, **contract) if there else None
        self.best = BestWeights(task.folder / ".best.safetensors", earlier) if task.protocol.select == "validation" else None

    def values(self, model: nn.Module) -> dict[str, float]:
        if self.samples is None:
            return {}
        section = self.task.section
        found = evaluate(self.fabric, model, self.samples, self.task.target.info.classes, section.batch_size, section.workers)
        dice = found.metrics["dice"]
        if self.best:
            self.best.observe(dice, self.segmenter)
        return {"validation_dice": dice}

    def restore(self) -> None:
        if self.best:
            self.best.restore(self.segmenter)
