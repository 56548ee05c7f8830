"""The pretrain section goes in; a folder of checkpoints and a run of `medtransfer/pretrain` come out."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from medtransfer import tracking
from medtransfer.config import Pretrain
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.encoders.contract import Encoder
from medtransfer.environment import git_revision, is_main_process
from medtransfer.errors import StageError
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.pretrain.folder import Series
from medtransfer.pretrain.recipe import Recipe, recipe_of
from medtransfer.pretrain.reuse import make_room, reuse
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.sync import finish
from medtransfer.pretrain.trainer import Trainer
from medtransfer.records import PRETRAINING_FILE, Pretraining, series_folder
from medtransfer.training.checkpoints import find_checkpoint, load_encoder
from medtransfer.training.device import open_fabric

log = logging.getLogger("medtransfer")


def run(section: Pretrain, stopper: Stopper | None, force: bool = False) -> Path:
    """Pretrain the section's encoder by its origin, or reuse what is finished.

    Args:
        section: validated params.
        stopper: the online rule on a prepared target, None to train to the last epoch.
        force: pretrain again although it is finished.

    Returns:
        The folder of the checkpoints.
    """
    recipe = recipe_of(section)
    root = Path(section.source_root)
    images = _open_source(root, recipe)
    fingerprint = images["train"].fingerprint()
    folder = series_folder(Path(section.out), recipe.encoder, recipe.origin)
    series = Series(folder, recipe.digest(fingerprint), recipe.checkpoints)
    with exclusive(folder) if is_main_process() else nullcontext():
        _run(section, recipe, series, images, fingerprint, stopper, force)
    return folder


def _run(
    section: Pretrain, recipe: Recipe, series: Series, images: dict[str, SourceImages], fingerprint: str, stopper: Stopper | None,
    force: bool,
) -> None:  # fmt: skip
    cell = digest([series.pretraining, series.epochs, stopper.identity if stopper else None], 16)
    if not force and reuse(series, cell):
        return
    fabric = open_fabric(section.accelerator, recipe.devices, recipe.precision)
    if is_main_process():
        make_room(series)
        if force:
            series.state.unlink(missing_ok=True)
            (series.folder / PRETRAINING_FILE).unlink(missing_ok=True)
    fabric.launch()
    with _together(fabric, series):
        _train(section, recipe, series, images, fingerprint, stopper, force, fabric, cell)


@contextmanager
def _together(fabric: Fabric, series: Series) -> Iterator[None]:
    """Say in one sentence that another process of a distributed job died, where the library names a broken connection."""
    try:
        yield
    except RuntimeError as fault:
        if fabric.world_size == 1 or not any(word in str(fault).lower() for word in ("gloo", "nccl", "connection")):
            raise
        raise StageError(
            "another process of this pretraining ended, or its connection broke; the epochs until then are kept in "
            f"{series.folder}: run the same command again to go on"
        ) from fault


def _train(
    section: Pretrain, recipe: Recipe, series: Series, images: dict[str, SourceImages], fingerprint: str, stopper: Stopper | None,
    force: bool, fabric: Fabric, cell: str,
) -> None:  # fmt: skip
    progress = None if force else series.progress
    trainer = Trainer(recipe, series, images, fabric, section.workers, _facts(section, recipe, series, images), progress)
    going = fabric.broadcast(_goes_on(series, progress, stopper) if fabric.is_global_zero else True)
    if not fabric.is_global_zero:
        if going:
            trainer.train(lambda epoch, encoder, numbers: True)
        return
    params = {**asdict(recipe), "accumulation": recipe.accumulation, "source": section.source,
              "pretraining": series.pretraining, "stop_on": section.stop_on}  # fmt: skip
    with tracking.open_run("pretrain", series.folder.name, cell, params, {}, on_disk=True) as handle:
        curves = progress["curves"] if progress else {}
        handle.log_curves({name: {int(epoch): value for epoch, value in curve.items()} for name, curve in curves.items()})
        last = progress["epoch"] if progress and not going else trainer.train(_observer(handle, series, stopper))
        saved = [epoch for epoch in series.saved if epoch <= last]
        done = Pretraining(
            series.folder.name, cell, series.pretraining, saved, {name: str(value) for name, value in params.items()},
            _tags(series, saved, last, stopper), trainer.curves if going else curves,
            [[section.source, fingerprint, section.source_root, "training"]],
        )  # fmt: skip
        finish(handle, series.folder, done)
    if series.complete:
        series.state.unlink(missing_ok=True)


def _open_source(root: Path, recipe: Recipe) -> dict[str, SourceImages]:
    return {
        split: SourceImages(
            root, split, recipe.size, mean=recipe.mean, std=recipe.std, train=split == "train",
            randaugment=recipe.randaugment, seed=recipe.seed,
        )
        for split in ("train", "val")
    }  # fmt: skip


def _facts(section: Pretrain, recipe: Recipe, series: Series, images: dict[str, SourceImages]) -> dict[str, Any]:
    return {
        "encoder": recipe.encoder, "build": recipe.build, "source": section.source,
        "source_classes": list(images["train"].classes), "origin": recipe.origin, "input": recipe.input,
        "seed": recipe.seed, "pretraining": series.pretraining, "parent": None, "git_revision": git_revision(Path.cwd()),
    }  # fmt: skip


def _goes_on(series: Series, progress: dict[str, Any] | None, stopper: Stopper | None) -> bool:
    """Tell whether there is something left to train after what an earlier process did.

    The rule sees every checkpoint that is there, measured anew: before, it may have been another target's, or none.
    """
    if progress is None:
        return True
    for name in progress["curves"].keys() - {"train_loss", "lr", "source_accuracy"}:
        del progress["curves"][name]
    if stopper:
        measured = progress["curves"][stopper.indicator] = {}
        for epoch in (epoch for epoch in series.saved if epoch in series.epochs and epoch <= progress["epoch"]):
            measured[str(epoch)] = stopper.measure(load_encoder(*find_checkpoint(series.folder, epoch)))
            if not stopper.observe(epoch, measured[str(epoch)]):
                return False
    return int(progress["epoch"]) < max(series.epochs)


def _observer(handle: tracking.Run, series: Series, stopper: Stopper | None) -> Callable[[int, Encoder, dict[str, float]], bool]:
    """Give what happens after each epoch: numbers to the log and the store, the indicator and the rule at checkpoints."""

    def observe(epoch: int, encoder: Encoder, numbers: dict[str, float]) -> bool:
        go_on = True
        if stopper and epoch in series.epochs:
            numbers[stopper.indicator] = stopper.measure(encoder)
            go_on = stopper.observe(epoch, numbers[stopper.indicator])
        handle.log_metrics(numbers, epoch)
        log.info("pretrain %s epoch %d: %s", series.folder.name, epoch, ", ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
        return go_on

    return observe


def _tags(series: Series, saved: list[int], last: int, stopper: Stopper | None) -> dict[str, str]:
    """Return which epochs were saved and why training stopped; log the same."""
    reason = stopper.explain() if stopper else f"reached the last epoch, {last}"
    spared = f", which spared {max(series.epochs) - last} of {max(series.epochs)} epochs" if last < max(series.epochs) else ""
    names = ", ".join(map(str, saved))
    log.info("pretrain %s: %s%s; the checkpoints of epochs %s lie in %s", series.folder.name, reason, spared, names, series.folder)
    return {"saved": " ".join(map(str, saved)), "stopped": reason + spared}
