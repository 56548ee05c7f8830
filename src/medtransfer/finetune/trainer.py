"""Training loop of a fine-tuning, resumable within an epoch."""

import logging
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medtransfer.data.epochs import Samples
from medtransfer.data.sampling import EpochBatches, Epochs
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.progress import track, track_within
from medtransfer.records import input_channels
from medtransfer.records.state import read_progress
from medtransfer.seeds import seed_everything
from medtransfer.training.batch_norm import needs_two_images
from medtransfer.training.device import lay_out, place_pixels
from medtransfer.training.fabric import Fabric
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.layer_decay import layer_scales
from medtransfer.training.parts import NOTHING, Pace, PartialEpoch, describe_progress, part_seed, parts_of, require_part
from medtransfer.training.schedules import warmup_cosine, warmup_polynomial, warmup_then
from medtransfer.training.state import load_state, save_state
from medtransfer.training.steps import Steps, build_optimiser, can_fuse

log = logging.getLogger("medtransfer")
SECOND_BETA = 0.999  # of Adam and AdamW, PyTorch's default
SECONDS_BETWEEN_LINES = 60.0  # about the batches of an epoch, between those about epochs
SECONDS_BETWEEN_STATES, SAVING_SHARE = 2.0, 0.01  # after the first state saving takes at most this share
Curves = dict[str, list[float | None]]


def joins_last_image(model: nn.Module, images: int, shape: tuple[int, int, int], protocol: Protocol) -> bool:
    """Return whether the last image of an epoch, left over on its own, must join the batch before.

    It must where batch normalisation cannot train on one image; elsewhere it stays a batch of its own.

    Args:
        model: model to train, on the CPU.
        images: number of training images.
        shape: their channels, height and width.
        protocol: the recipe.

    Raises:
        InputError: such a batch cannot be avoided.
    """
    (channels, height, width), (batches, left) = shape, divmod(images, protocol.batch_size)
    alone = left == 1 and (protocol.epoch_steps is None or protocol.epoch_steps > batches)
    if not (alone or protocol.batch_size == 1) or not needs_two_images(model, height, width, channels):
        return False
    if protocol.batch_size > 1 and batches:
        return True
    raise InputError(
        f"expected at least 2 images per step, since at {height}x{width} pixels batch normalisation sees a single value per "
        f"channel of one image, but got {images} training images and finetune.batch_size {protocol.batch_size}; raise the batch "
        "size, add images, or prepare the target with a larger `size`"
    )


class Trainer:
    """One fine-tuning: SGD with momentum and polynomial decay by step (A.4), or what the protocol says instead."""

    def __init__(
        self, fabric: Fabric, model: nn.Module, samples: Samples, loss: Callable[[Tensor, Tensor], Tensor], protocol: Protocol,
        seed: int, state: Path, key: str, workers: int,
    ) -> None:  # fmt: skip
        """Set up the model and the optimiser, and resume from the state of an interrupted training.

        Args:
            fabric: launched, one device.
            model: model, with a frozen encoder if the mode says so; parameters without gradient are not trained.
            samples: augmented training samples.
            loss: returns the loss of a batch's logits and labels.
            protocol: the recipe.
            seed: seed of the sample order and everything else that is random.
            state: file to resume from.
            key: digest of the cell; a state of another cell is ignored.
            workers: loader processes.
        """
        self.fabric, self.samples, self.loss, self.protocol, self.seed = fabric, samples, loss, protocol, seed
        self.state, self.key, self.raw = state, key, lay_out(model)
        height, width, stored = samples[0][0].shape
        joins = joins_last_image(model, len(samples), (input_channels(stored), height, width), protocol)
        self.raw_optimiser = build_optimiser(
            protocol.optimiser, model, lr=protocol.lr, weight_decay=protocol.weight_decay, betas=(protocol.momentum, SECOND_BETA),
            decay_norms=protocol.decay_norms, fused=can_fuse(protocol.precision, protocol.clip_grad),
            scales=None if protocol.layer_decay == 1 else layer_scales(model, protocol.layer_decay),
        )  # fmt: skip
        self.curves: Curves = {"train_loss": [], "lr": []}
        self.steps = Steps(
            fabric, self.raw, self.raw_optimiser, compiles=protocol.compile, clip_grad=protocol.clip_grad,
            ema_decay=protocol.ema_decay,
        )  # fmt: skip
        self.first, self.done = self._resume()  # after `setup`, since loading moves the moments to the device of their parameters
        sampler = EpochBatches(len(samples), protocol.batch_size, seed=seed, shuffle=True, drop_last=False, join_last_image=joins)
        self.epochs = Epochs(
            samples, sampler, workers, pin=fabric.device.type == "cuda", last=protocol.train_epochs, count=protocol.epoch_steps
        )  # fmt: skip
        require_part(self.done, len(self.epochs), state)

    def train(
        self, label: str, observe: Callable[[int, dict[str, float]], None], stops: Callable[[], bool] = lambda: False,
        plateau: Callable[[], float] = lambda: 1.0,
    ) -> Curves:  # fmt: skip
        """Train to the last epoch, or until it stops.

        Args:
            label: label of the progress bar.
            observe: called after each epoch with its number, counted from 1, and its values, which it may add to.
            stops: asked before each epoch whether to stop.
            plateau: asked before each epoch for the factor of the schedule `plateau` on the learning rate.

        Returns:
            The curves, one value per epoch; None where an epoch has none.
        """
        pace = Pace(SECONDS_BETWEEN_STATES, SAVING_SHARE)

        def save(epoch: int, reached: Callable[[], PartialEpoch] = lambda: NOTHING) -> None:
            if pace.due:
                part = reached()
                with pace.saving():
                    self._save(epoch, part)

        remedy = "lower finetune.lr, or look for a broken sample, and run again"
        # no attribute: it refers to the trainer, and a cycle would keep the model until Python looks for garbage
        guard = FiniteGuard(self.fabric, self.raw, self.raw_optimiser, "training loss", self._last_good, remedy)
        epochs = range(self.first, self.protocol.train_epochs + 1)
        for epoch in track(epochs, label, self.protocol.train_epochs, "epochs", self.first - 1):
            if stops():
                break
            factor = plateau() if self.protocol.schedule == "plateau" else 1.0
            values = self._epoch(epoch, factor, guard, label, partial(save, epoch - 1))
            observe(epoch, values)
            for name in self.curves | values:
                self.curves.setdefault(name, [None] * (epoch - 1)).append(values.get(name))
            save(epoch)
        return self.curves

    def _save(self, epoch: int, part: PartialEpoch) -> None:
        precision = self.fabric.strategy.precision.state_dict()
        progress = {"key": self.key, "epoch": epoch, "curves": self.curves, "precision": precision, **part.progress}
        save_state(self.state, self.raw, self.raw_optimiser, progress, self.steps.average)

    def _resume(self) -> tuple[int, PartialEpoch]:
        """Restore the state of an interrupted training; return the next epoch, and what of it is done."""
        progress = self._progress()
        if progress is None:
            return 1, NOTHING
        load_state(self.state, self.raw, self.raw_optimiser, self.steps.average)
        self.fabric.strategy.precision.load_state_dict(progress["precision"])
        self.curves = progress["curves"]
        log.info("finetune: resumes after %s", describe_progress(progress))
        return int(progress["epoch"]) + 1, PartialEpoch.of(progress)

    def _progress(self) -> dict[str, Any] | None:
        progress = read_progress(self.state)
        if progress is None or progress.get("key") != self.key or not 0 <= progress["epoch"] <= self.protocol.train_epochs:
            return None
        return progress

    def _last_good(self) -> str:
        progress = self._progress()
        if progress is None:
            return "no state was saved before"
        return f"the last good state is that of {describe_progress(progress)}, {self.state}"

    def _epoch(
        self, epoch: int, factor: float, guard: FiniteGuard, label: str, save: Callable[[Callable[[], PartialEpoch]], None]
    ) -> dict[str, float]:  # fmt: skip
        done = self.done if epoch == self.first else NOTHING
        self.steps.model.train()
        steps, lr = len(self.epochs), 0.0
        guard.resume(done)
        batches = track_within(
            self.epochs.batches(epoch, done.steps), f"epoch {epoch} of {label}", steps, "batches", SECONDS_BETWEEN_LINES, done.steps
        )  # fmt: skip
        for begin, end in parts_of(steps, done.steps):
            seed_everything(part_seed(begin, self.seed, "epoch", epoch))
            for step, (pixels, truth, _) in enumerate(islice(batches, end - begin), start=(epoch - 1) * steps + begin):
                lr = self.protocol.lr * self._rate(step, steps, factor)
                self.steps.set_lr(lr)
                images = place_pixels(self.fabric, pixels, self.samples.mean, self.samples.std)
                with self.steps.compilation.step(len(images)):
                    logits = self.steps.model(images)
                loss = self.loss(logits, self.fabric.to_device(truth))
                guard.observe(loss, step, epoch, lr)
                self.fabric.backward(loss)
                self.steps.update(step)
            if end < steps:
                save(partial(guard.reached, end))
        return {"train_loss": guard.end_epoch(), "lr": lr}

    def _rate(self, step: int, epoch_steps: int, plateau: float) -> float:
        """Return the factor on the learning rate at an optimiser step, counted from 0 over the whole training."""
        warmup, total = self.protocol.warmup * epoch_steps, self.protocol.train_epochs * epoch_steps
        if self.protocol.schedule == "plateau":
            return warmup_then(plateau, step, warmup)
        if self.protocol.schedule == "cosine-by-epoch" and step >= warmup:
            return warmup_cosine(step - step % epoch_steps, warmup, total)
        if self.protocol.schedule == "cosine":
            return warmup_cosine(step, warmup, total)
        return warmup_polynomial(step, warmup, total, self.protocol.power)
