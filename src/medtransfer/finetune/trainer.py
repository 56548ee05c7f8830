"""A segmenter and a prepared target go in; trained weights and their curves come out, resumable by epoch."""

import logging
import math
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.data.target import TargetSamples
from medtransfer.errors import StageError
from medtransfer.finetune.protocol import Protocol
from medtransfer.progress import track
from medtransfer.runtime import derive_seed, seed_everything
from medtransfer.training.losses import dice_loss
from medtransfer.training.schedules import polynomial
from medtransfer.training.state import load_state, read_progress, save_state

log = logging.getLogger("medtransfer")
SECONDS_BETWEEN_STATES = 20.0
Curves = dict[str, list[float]]


class Trainer:
    """One fine-tuning: SGD with momentum, polynomial decay by step, Dice loss (A.2, A.4)."""

    def __init__(
        self, fabric: Fabric, segmenter: nn.Module, samples: TargetSamples, classes: int, protocol: Protocol, seed: int,
        state: Path, key: str, workers: int,
    ) -> None:  # fmt: skip
        """Take what a fine-tuning needs.

        Args:
            fabric: launched, one device.
            segmenter: with a frozen encoder in decoder-only training; parameters without gradient are left out.
            samples: augmented training samples.
            classes: non-background classes.
            protocol: the recipe.
            seed: of the sample order and everything else that is random.
            state: file to resume from.
            key: of the cell, so that a state of another cell is not taken.
            workers: loader processes.
        """
        self.fabric, self.samples, self.classes, self.protocol, self.seed = fabric, samples, classes, protocol, seed
        self.state, self.key, self.raw = state, key, segmenter
        trained = [parameter for parameter in segmenter.parameters() if parameter.requires_grad]
        self.raw_optimiser = torch.optim.SGD(
            trained, lr=protocol.lr, momentum=protocol.momentum, weight_decay=protocol.weight_decay
        )
        self.curves: Curves = {"train_loss": [], "lr": []}
        self.model, self.optimiser = fabric.setup(segmenter, self.raw_optimiser)
        self.first = self._resume()  # on the device by then: moments follow their parameters only when they are loaded
        self.sampler = EpochBatches(len(samples), protocol.batch_size, seed=seed, shuffle=True, drop_last=False)
        self.batches = loader(samples, self.sampler, workers, pin=fabric.device.type == "cuda")

    def train(self, label: str, observe: Callable[[int, dict[str, float]], None]) -> Curves:
        """Train to the last epoch.

        Args:
            label: of the progress bar.
            observe: called after each epoch with its number, counted from 1, and its values, which it may add to.

        Returns:
            The curves, a value an epoch.
        """
        saved = time.monotonic()
        epochs = range(self.first, self.protocol.train_epochs + 1)
        for epoch in track(epochs, label, len(epochs), "epoch"):
            values = self._epoch(epoch)
            observe(epoch, values)
            for name, value in values.items():
                self.curves.setdefault(name, []).append(value)
            if time.monotonic() - saved > SECONDS_BETWEEN_STATES:
                self._save(epoch)
                saved = time.monotonic()
        return self.curves

    def _save(self, epoch: int) -> None:
        precision = self.fabric.strategy.precision.state_dict()
        progress = {"key": self.key, "epoch": epoch, "curves": self.curves, "precision": precision}
        save_state(self.state, self.raw, self.raw_optimiser, progress)

    def _resume(self) -> int:
        progress = read_progress(self.state)
        if progress is None or progress["key"] != self.key:
            return 1
        load_state(self.state, self.raw, self.raw_optimiser)
        self.fabric.strategy.precision.load_state_dict(progress["precision"])
        self.curves = progress["curves"]
        log.info("finetune: goes on after epoch %d", progress["epoch"])
        return int(progress["epoch"]) + 1

    def _epoch(self, epoch: int) -> dict[str, float]:
        seed_everything(derive_seed(self.seed, "epoch", epoch))
        self.samples.set_epoch(epoch)
        self.sampler.set_epoch(epoch)
        self.model.train()
        steps, lr = min(len(self.sampler), self.protocol.epoch_steps or len(self.sampler)), 0.0
        total = torch.zeros((), device=self.fabric.device)
        for step, (images, masks, _) in enumerate(islice(self.batches, steps), start=(epoch - 1) * steps):
            lr = self.protocol.lr * polynomial(step, self.protocol.train_epochs * steps, self.protocol.power)
            for group in self.optimiser.param_groups:
                group["lr"] = lr
            logits = self.model(self.fabric.to_device(images))
            loss = dice_loss(logits, self.fabric.to_device(masks), self.classes)
            self.fabric.backward(loss)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            total += loss.detach()
        mean = float(total) / steps
        if not math.isfinite(mean):
            raise StageError(f"the Dice loss of epoch {epoch} is {mean} at learning rate {lr:.3g}; lower finetune.lr and run again")
        return {"train_loss": mean, "lr": lr}
