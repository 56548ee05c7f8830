"""The pretrain section goes in; a folder of checkpoints and a run of `medtransfer/pretrain` come out."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from medtransfer import tracking
from medtransfer.config import Pretrain
from medtransfer.data.source import SourceImages
from medtransfer.models.encoder import Encoder
from medtransfer.pretrain.recipe import Recipe, recipe_of
from medtransfer.pretrain.series import Series
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.trainer import Trainer
from medtransfer.records import series_folder
from medtransfer.runtime import digest, git_revision, is_main_process

log = logging.getLogger("medtransfer")


def run(section: Pretrain, stopper: Stopper | None, force: bool = False) -> Path:
    """Pretrain the section's encoder by its scheme, or reuse what is finished.

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
    folder = series_folder(Path(section.out), recipe.encoder, recipe.scheme)
    series = Series(folder, recipe.digest(fingerprint), recipe.checkpoints)
    cell = digest([series.pretraining, series.epochs, stopper.identity if stopper else None], 16)
    if is_main_process() and not force and _reuse(series, cell):
        return folder
    if is_main_process():
        _make_room(series, force)
    fabric = Fabric(accelerator=section.accelerator, devices=recipe.devices, precision=recipe.precision)  # type: ignore[arg-type]
    fabric.launch()
    trainer = Trainer(recipe, series, images, fabric, section.workers, _facts(section, recipe, series, images))
    progress = series.progress
    going = fabric.broadcast(stopper is None or progress is None or stopper.replay(progress["curves"].get("robustness", {})))
    if not fabric.is_global_zero:
        if going:
            trainer.train(lambda epoch, encoder, numbers: True)
        return folder
    params = {**asdict(recipe), "accumulation": recipe.accumulation, "source": section.source,
              "pretraining": series.pretraining, "stop_on": section.stop_on}  # fmt: skip
    with tracking.open_run("pretrain", folder.name, cell, params, {}) as handle:
        handle.log_dataset(section.source, fingerprint, root, "training")
        earlier = progress["curves"] if progress else {}
        handle.log_curves({name: {int(epoch): value for epoch, value in curve.items()} for name, curve in earlier.items()})
        last = trainer.train(_observer(handle, series, stopper)) if going else progress["epoch"]
        _store(handle, series, last, stopper)
    if series.complete:
        series.state.unlink(missing_ok=True)
    return folder


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
        "encoder": recipe.encoder, "source": section.source,
        "source_classes": list(images["train"].classes), "scheme": recipe.scheme, "input": recipe.input,
        "seed": recipe.seed, "pretraining": series.pretraining, "parent": None, "git_revision": git_revision(Path.cwd()),
    }  # fmt: skip


def _reuse(series: Series, cell: str) -> bool:
    """Tell whether a finished run holds the checkpoints; those that the folder lacks are fetched from the store."""
    finished = tracking.find_finished("pretrain", cell)
    if finished is None:
        return False
    if aside := series.make_room():
        log.info("pretrain: the checkpoints of other settings were moved to %s", aside)
    if not {int(epoch) for epoch in finished.tags["saved"].split()} <= set(series.saved):
        tracking.fetch_artifacts(finished.id, "checkpoints", series.folder.parent)
        (series.folder.parent / "checkpoints").rename(series.folder)
    log.info("pretrain: %s is finished (run %s): reused; --force does it again", series.folder, finished.id)
    tracking.note_reuse("pretrain", finished.id)
    return True


def _make_room(series: Series, force: bool) -> None:
    if aside := series.make_room():
        log.info("pretrain: the checkpoints of other settings were moved to %s", aside)
    if force:
        series.state.unlink(missing_ok=True)


def _observer(
    handle: tracking.Run, series: Series, stopper: Stopper | None
) -> Callable[[int, Encoder, dict[str, float]], bool]:
    """Give what happens after each epoch: numbers to the log and the store, robustness and the rule at checkpoints."""

    def observe(epoch: int, encoder: Encoder, numbers: dict[str, float]) -> bool:
        go_on = True
        if stopper and epoch in series.epochs:
            numbers["robustness"] = stopper.measure(encoder)
            go_on = stopper.observe(epoch, numbers["robustness"])
        handle.log_metrics(numbers, epoch)
        log.info("pretrain %s epoch %d: %s", series.folder.name, epoch, ", ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
        return go_on

    return observe


def _store(handle: tracking.Run, series: Series, last: int, stopper: Stopper | None) -> None:
    saved = [epoch for epoch in series.saved if epoch <= last]
    reason = stopper.explain() if stopper else f"reached the last epoch, {last}"
    log.info("pretrain %s: %s; saved the epochs %s in %s", series.folder.name, reason, ", ".join(map(str, saved)), series.folder)
    handle.set_tags({"saved": " ".join(map(str, saved)), "stopped": reason})
    for file in (series.folder / "curves.json", *series.files()):
        handle.log_artifact(file, "checkpoints")
