"""Training loop of a pretraining, resumable within an epoch, which saves checkpoints."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from medtransfer.data.sampling import EpochBatches, Epochs, loader
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.pretrain.loop import train_epoch
from medtransfer.pretrain.plan import TrainingPlan
from medtransfer.pretrain.recipe import Recipe
from medtransfer.progress import track
from medtransfer.records import checkpoint_path, picture_path, write_curves
from medtransfer.records.state import read_progress
from medtransfer.training.batch_norm import needs_two_images
from medtransfer.training.checkpoints import load_encoder, save_checkpoint
from medtransfer.training.device import lay_out
from medtransfer.training.fabric import Fabric
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.parts import NOTHING, Pace, PartialEpoch, describe_progress, require_part
from medtransfer.training.state import load_state, save_state
from medtransfer.training.steps import Steps, build_optimiser, can_fuse

SECONDS_BETWEEN_STATES, SAVING_SHARE = 300.0, 0.01  # within an epoch; saving there takes at most this share of the time

log = logging.getLogger("medtransfer")
Curves = dict[str, dict[str, float]]  # metric -> epoch (a string, as in JSON) -> value


def check_batches(recipe: Recipe, images: int, least: int = 1) -> None:
    """Check that no device ever trains on one image that its batch normalisation has no variance of.

    Args:
        recipe: recipe of the pretraining.
        images: number of training images.
        least: images that the loss of a micro-batch needs.

    Raises:
        InputError: there are fewer images than devices, or such a batch would come up.
    """
    if images < recipe.devices:
        raise InputError(f"expected a training image for each device, but got {images} for pretrain.devices {recipe.devices}")
    smallest = min(recipe.micro_batch, images // recipe.devices)  # a set smaller than one step is one step
    if smallest < least:
        raise InputError(
            f"expected at least {least} images per device and forward pass for the origin {recipe.origin}, but got {smallest} of "
            f"{images} (pretrain.micro_batch {recipe.micro_batch}, pretrain.devices {recipe.devices}); raise the batch sizes, or "
            "add images"
        )
    if smallest == 1 and needs_two_images(build_encoder(recipe.build, **recipe.arguments), recipe.size, recipe.size):
        raise InputError(
            f"expected at least 2 images per device and forward pass, since at {recipe.size} pixels batch normalisation of "
            f"{recipe.encoder} sees a single value per channel of one image, but got 1 of {images} (pretrain.micro_batch "
            f"{recipe.micro_batch}, pretrain.devices {recipe.devices}); raise pretrain.micro_batch or pretrain.size, or add images"
        )


class Trainer:
    """One pretraining in this process; a distributed job has one per process."""

    def __init__(self, plan: TrainingPlan, fabric: Fabric, progress: dict[str, Any] | None) -> None:
        """Prepare a pretraining.

        Args:
            plan: plan of the pretraining.
            fabric: launched fabric.
            progress: progress of an interrupted pretraining, to resume from; None to start again.
        """
        self.plan, self.fabric, self.progress = plan, fabric, progress
        self.recipe, self.checkpoints, self.objective = plan.recipe, plan.checkpoints, plan.objective
        self.curves: Curves = {}
        self.tags: dict[str, str] = {}

    def train(self, observe: Callable[[int, nn.Module, dict[str, float]], bool]) -> int:
        """Train from the last saved state to the end, or until `observe` returns False.

        Args:
            observe: called in the main process after each epoch, including 0 (no training), with the epoch, the model and
                the epoch's numbers, to which it may add; returns whether to continue.

        Returns:
            The last epoch that was trained.
        """
        recipe = self.recipe
        self.raw = self.objective.build(build_encoder(recipe.build, **recipe.arguments))
        initialise(self.raw, recipe.seed)
        if self.plan.start:
            _encoder(self.raw).load_state_dict(load_encoder(*self.plan.start).state_dict())
        lay_out(self.raw)
        self.raw_optimiser = build_optimiser(
            recipe.optimiser, self.raw, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=recipe.betas,
            decay_norms=recipe.decay_norms, fused=can_fuse(recipe.precision, recipe.clip_grad),
        )  # fmt: skip
        self.steps = Steps(
            self.fabric, self.raw, self.raw_optimiser, compiles=recipe.compile, clip_grad=recipe.clip_grad,
            ema_decay=recipe.ema_decay,
        )  # fmt: skip
        remedy = "lower pretrain.lr, or look for a broken picture, and run again"
        guard = FiniteGuard(self.fabric, self.raw, self.raw_optimiser, "training loss", self._last_good, remedy)
        begin, done = self._resume()
        self.pace = Pace(SECONDS_BETWEEN_STATES, SAVING_SHARE)
        sampler = self._sampler("train")
        pieces = self._pieces(len(sampler))
        require_part(done, len(pieces), self.checkpoints.state)
        workers, pin = self.plan.section.workers, self.fabric.device.type == "cuda"
        training = Epochs(self.objective.images["train"], sampler, workers, pin, last=recipe.epochs, count=sum(pieces))
        validation = loader(self.objective.images["val"], self._sampler("val"), workers, pin)
        for epoch in range(begin, self.recipe.epochs + 1):
            numbers = self._epoch(training, epoch, pieces, guard, done) if epoch else {}
            done = NOTHING
            self.steps.share_buffers()
            numbers |= self.objective.measure(self.fabric, self.steps.kept, validation)
            proceed = True
            if self.fabric.is_global_zero:
                proceed = self._save(epoch, numbers, observe)
            if compiled := self.steps.compilation.summary:
                self.tags["compiled"] = compiled
            if not self.fabric.broadcast(proceed):
                return epoch
        return self.recipe.epochs

    def _resume(self) -> tuple[int, PartialEpoch]:
        """Restore the state of an interrupted pretraining; return the next epoch, and what of it is done.

        The model must be on its device already, since loading moves the optimiser's moments to that of their parameters.
        """
        if self.progress is None:
            return 0, NOTHING
        load_state(self.checkpoints.state, self.raw, self.raw_optimiser, self.steps.average)
        self.fabric.strategy.precision.load_state_dict(self.progress["precision"])
        self.curves = self.progress["curves"]
        log.info("pretrain: %s resumes after %s", self.checkpoints.path.name, describe_progress(self.progress))
        return int(self.progress["epoch"]) + 1, PartialEpoch.of(self.progress)

    def _last_good(self) -> str:
        """Name the last good checkpoint for the error message."""
        state = read_progress(self.checkpoints.state) or {}
        done = int(state["epoch"]) if state.get("pretraining") == self.checkpoints.pretraining else -1
        saved = [epoch for epoch in self.checkpoints.saved if epoch <= done]
        if not saved:
            return "no checkpoint was saved before"
        file = checkpoint_path(self.checkpoints.path, saved[-1])
        state_of = f"the last good state that of {describe_progress(state)}, {self.checkpoints.state}"
        return f"the last good checkpoint is that of epoch {saved[-1]}, {file}, and {state_of}"

    def _sampler(self, split: str) -> EpochBatches:
        """Return the sampler of this process; an optimiser step has the same images for any number of devices."""
        training = split == "train"
        return EpochBatches(
            len(self.objective.images[split]), self.recipe.micro_batch, seed=self.recipe.seed, shuffle=training, drop_last=training,
            rank=self.fabric.global_rank, world=self.fabric.world_size,
        )  # fmt: skip

    def _pieces(self, batches: int) -> list[int]:
        """Return the number of micro-batches of each optimiser step; a dataset smaller than one step is one step."""
        whole, rest = divmod(batches, self.recipe.accumulation)
        return [self.recipe.accumulation] * whole or [rest]

    def _epoch(
        self, training: Epochs, epoch: int, pieces: list[int], guard: FiniteGuard, done: PartialEpoch
    ) -> dict[str, float]:  # fmt: skip
        before = sum(pieces[: done.steps])
        batches = training.batches(epoch, before)
        if self.fabric.is_global_zero:  # the time left is that of all epochs
            label, number = f"pretrain epoch {epoch}/{self.recipe.epochs} {self.checkpoints.path.name}", len(training)
            batches = track(batches, label, self.recipe.epochs * number, "batches", (epoch - 1) * number + before)

        def save(reached: Callable[[], PartialEpoch]) -> None:
            due = self.fabric.is_global_zero and self.pace.due
            if due or self.fabric.world_size > 1:  # others do not know whether it is time
                part = reached()
                if due:
                    self._save_state(epoch - 1, part)

        return train_epoch(self.fabric, self.steps, batches, pieces, self.recipe, epoch, self.objective, guard, done, save)

    def _save(
        self, epoch: int, numbers: dict[str, float], observe: Callable[[int, nn.Module, dict[str, float]], bool]
    ) -> bool:  # fmt: skip
        """Save an epoch: first the checkpoint, then the state, which marks the epoch as done."""
        kept, recorded = self.steps.kept, self.objective.recorded
        if epoch in self.recipe.checkpoints:
            metrics = {recorded: numbers[recorded]}
            save_checkpoint(self.checkpoints.path, kept, replace(self.plan.provenance, epoch=epoch, metrics=metrics))
            self.objective.draw(picture_path(self.checkpoints.path, epoch), self.fabric, kept)
        proceed = observe(epoch, kept, numbers)
        for name, value in numbers.items():
            self.curves.setdefault(name, {})[str(epoch)] = value
        write_curves(self.checkpoints.path, self.curves)
        self._save_state(epoch)
        return proceed

    def _save_state(self, epoch: int, part: PartialEpoch = NOTHING) -> None:
        """Save the state after an epoch, and a part of the next one."""
        progress = {
            "pretraining": self.checkpoints.pretraining, "epoch": epoch, "curves": self.curves,
            "precision": self.fabric.strategy.precision.state_dict(), **part.progress,
        }  # fmt: skip
        with self.pace.saving():
            save_state(self.checkpoints.state, self.raw, self.raw_optimiser, progress, self.steps.average)


def _encoder(model: nn.Module) -> Encoder:
    encoder = model.get_submodule("encoder")
    assert isinstance(encoder, Encoder)
    return encoder
