"""Training of a plan on all devices: resumed or from its start, observed by a stopping rule, stored at its end."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from subprocess import Popen
from typing import Any

import torch
from torch import nn

from medtransfer import tracking
from medtransfer.config.loaded_files import repeated_options
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError, TemporaryError
from medtransfer.hashing import canonical_json
from medtransfer.launchers import is_main_process
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.plan import TrainingPlan
from medtransfer.pretrain.reuse import move_aside_foreign
from medtransfer.pretrain.start import source_of
from medtransfer.pretrain.sync import finish
from medtransfer.pretrain.trainer import Trainer, check_batches
from medtransfer.records import PRETRAINING_FILE, Pretraining, find_checkpoint
from medtransfer.records.lineage import chain_name, draw_chain
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.checkpoints import load_encoder, load_head
from medtransfer.training.device import launch, lay_out, open_fabric
from medtransfer.training.fabric import Fabric
from medtransfer.wording import epoch_list

log = logging.getLogger("medtransfer")


def train(plan: TrainingPlan) -> None:
    """Move checkpoints of other settings aside, and train on all devices.

    Raises:
        InputError: the source, the batches or the stopping rule do not fit the objective; nothing is written then.
    """
    _check_rule(plan)
    recipe, checkpoints = plan.recipe, plan.checkpoints
    check_batches(recipe, len(plan.objective.images["train"]), plan.objective.least_images)
    fabric = open_fabric(plan.section.accelerator, plan.section.devices, recipe.precision, plan.section.num_nodes)
    if is_main_process():
        move_aside_foreign(checkpoints)
        if plan.force:
            checkpoints.state.unlink(missing_ok=True)
            (checkpoints.path / PRETRAINING_FILE).unlink(missing_ok=True)
    launch(fabric, recipe.devices)
    with (
        arithmetic(fabric.device, tf32=recipe.tf32, reproducible=recipe.reproducible),
        _explain_lost_process(fabric, checkpoints.path),
    ):
        _train(plan, fabric)


def _check_rule(plan: TrainingPlan) -> None:
    """Check that the objective measures what the stopping rule needs."""
    if plan.stopper and "source_accuracy" in plan.stopper.rule.needs and plan.objective.accuracy is None:
        raise InputError(
            f"expected a pretrain.stop_rule that needs no accuracy on the source, since the origin {plan.recipe.origin} learns no "
            f"classes, but got {plan.section.stop_rule}; name another one, such as first-drop"
        )


@contextmanager
def _explain_lost_process(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Explain that another process of a distributed job died, where the library names a broken connection.

    Every few seconds a thread of the library kills the whole job if a process of it has died: it is given none to watch
    any more, so that this process has the time to record and to say what happened.
    """
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or not any(word in str(error).lower() for word in ("gloo", "nccl", "connection")):
            raise
        others: list[Popen] = getattr(fabric.strategy.launcher, "procs", [])
        for process in others:
            process.kill()
        others.clear()
        raise TemporaryError(
            "another process of this pretraining ended, or its connection broke; what was saved until then is kept in "
            f"{folder}: run the same command again to resume"
        ) from error


def _train(plan: TrainingPlan, fabric: Fabric) -> None:
    section, recipe, checkpoints = plan.section, plan.recipe, plan.checkpoints
    progress = None if plan.force else checkpoints.progress
    _check_same_job(fabric, checkpoints, progress)
    trainer = Trainer(plan, fabric, progress)
    unfinished = fabric.broadcast(_is_unfinished(plan, progress) if fabric.is_global_zero else True)
    if not fabric.is_global_zero:
        if unfinished:
            trainer.train(lambda epoch, model, numbers: True)
        return
    params = {**asdict(recipe), "accumulation": recipe.accumulation, "kind": plan.provenance.kind, "source": plan.source,
              "pretraining": checkpoints.pretraining, "stop_on": section.stop_on, **_lineage(plan)}  # fmt: skip
    with (
        tracking.open_run("pretrain", checkpoints.path.name, plan.cell, params, {}, on_disk=True) as run,
        _explain_lost_process(fabric, checkpoints.path),
    ):
        curves = progress["curves"] if progress else {}
        run.log_curves({name: {int(epoch): value for epoch, value in curve.items()} for name, curve in curves.items()})
        last = progress["epoch"] if progress and not unfinished else trainer.train(_observer(run, plan))
        saved = [epoch for epoch in checkpoints.saved if epoch <= last]
        done = Pretraining(
            checkpoints.path.name, plan.cell, checkpoints.pretraining, saved, {name: str(value) for name, value in params.items()},
            _tags(plan, saved, last) | trainer.tags, trainer.curves if unfinished else curves,
            [[plan.source, plan.fingerprint, str(source_of(section)[1]), "training"]],
        )  # fmt: skip
        finish(run, checkpoints.path, done)
    if plan.parents:
        log.info("\n".join(["pretrain: the lineage:", *draw_chain(plan.parents, plan.source, checkpoints.path.name)]))
    if checkpoints.complete:
        checkpoints.state.unlink(missing_ok=True)
    if plan.stopper and plan.stopper.kept is not None:
        log.info(
            "whether epoch %d is better than no pretraining: `medtransfer guard --target %s --encoder %s --origin %s --epoch %d%s`",
            plan.stopper.kept, plan.stopper.target, section.encoder, section.origin, plan.stopper.kept, repeated_options(),
        )  # fmt: skip


def _check_same_job(fabric: Fabric, checkpoints: CheckpointFolder, progress: dict[str, Any] | None) -> None:
    """Check that all processes train the same recipe on the same images, from the same epoch.

    Raises:
        InputError: they do not, so they would wait for each other without an end.
    """
    if fabric.world_size == 1:
        return
    own = [checkpoints.pretraining, progress and [progress["epoch"], progress.get("part")]]
    differing = [float(ours != main) for ours, main in zip(own, fabric.broadcast(own), strict=True)]
    total: Any = fabric.all_reduce(torch.tensor(differing, device=fabric.device), reduce_op="sum")
    recipes, epochs = total.tolist()
    if not recipes + epochs:
        return
    what = "the same params and source" if recipes else f"the same state in {checkpoints.path}"
    raise InputError(
        f"expected {what} on all machines, but they differ; share the working folder and the source under the same path"
    )


def _lineage(plan: TrainingPlan) -> dict[str, str]:
    """Return the params of a run that continues from a checkpoint: what it came about by, and from which checkpoints."""
    if not plan.parents:
        return {}
    return {"chain": chain_name(plan.parents, plan.source), "parents": canonical_json(plan.parents)}


def _is_unfinished(plan: TrainingPlan, progress: dict[str, Any] | None) -> bool:
    """Return whether training must continue after an earlier process.

    The rule observes all checkpoints on disk, scored again, since the earlier process may have had another rule or none.
    """
    if progress is None:
        return True
    checkpoints, stopper = plan.checkpoints, plan.stopper
    for name in progress["curves"].keys() - set(plan.objective.curves):
        del progress["curves"][name]
    if stopper:
        measured = progress["curves"][stopper.indicator] = {}
        accuracies = progress["curves"].get(plan.objective.accuracy or "", {})
        for epoch in (epoch for epoch in checkpoints.saved if epoch in checkpoints.epochs and epoch <= progress["epoch"]):
            path, info = find_checkpoint(checkpoints.path, epoch)
            encoder = load_encoder(path, info)
            head = load_head(path, info, encoder)
            lay_out(encoder)  # as in training, for the same bits
            proceed = stopper.observe(epoch, stopper.measure(encoder, plan.recipe.input, head), accuracies.get(str(epoch)))
            measured[str(epoch)] = stopper.seen[epoch]
            if not proceed:
                return False
    return int(progress["epoch"]) < max(checkpoints.epochs)


def _observer(run: tracking.Run, plan: TrainingPlan) -> Callable[[int, nn.Module, dict[str, float]], bool]:
    """Return the callback after each epoch, which logs the numbers and, at checkpoints, applies the stopping rule."""
    checkpoints, stopper, objective = plan.checkpoints, plan.stopper, plan.objective

    def observe(epoch: int, model: nn.Module, numbers: dict[str, float]) -> bool:
        proceed = True
        if stopper and epoch in checkpoints.epochs:
            encoder = model.get_submodule("encoder")
            assert isinstance(encoder, Encoder)
            seen = stopper.measure(encoder, plan.recipe.input, objective.source_head(model))
            proceed = stopper.observe(epoch, seen, numbers[objective.accuracy] if objective.accuracy else None)
            numbers[stopper.indicator] = stopper.seen[epoch]
        run.log_metrics(numbers, epoch)
        values = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        log.info("pretrain %s epoch %d: %s", checkpoints.path.name, epoch, values)
        return proceed

    return observe


def _tags(plan: TrainingPlan, saved: list[int], last: int) -> dict[str, str]:
    """Return the tags with the saved epochs, the one that a rule keeps and the reason why training stopped, and log them."""
    folder, planned = plan.checkpoints.path, max(plan.checkpoints.epochs)
    reason = plan.stopper.explain() if plan.stopper else f"reached the last epoch, {last}"
    reason += f"; {planned - last} of {planned} epochs were not trained" if last < planned else ""
    log.info("pretrain %s: %s; the checkpoints of epochs %s are in %s", folder.name, reason, epoch_list(saved), folder)
    kept = plan.stopper.kept if plan.stopper else None
    return {"saved": " ".join(map(str, saved)), "stopped": reason} | ({} if kept is None else {"kept": str(kept)})
