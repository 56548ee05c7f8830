"""Training loop of a pretraining, resumable by epoch, which saves checkpoints."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric

from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.pretrain.loop import accuracy, train_epoch
from medtransfer.pretrain.plan import TrainingPlan
from medtransfer.progress import track
from medtransfer.records import SOURCE_ACCURACY, checkpoint_path, write_curves
from medtransfer.training.checkpoints import save_checkpoint
from medtransfer.training.device import compiled, lay_out
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.state import load_state, read_progress, save_state

log = logging.getLogger("medtransfer")
Curves = dict[str, dict[str, float]]  # metric -> epoch (a string, as in JSON) -> value


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
        self.recipe, self.checkpoints, self.images = plan.recipe, plan.checkpoints, plan.images
        self.classes = len(self.images["train"].classes)
        self.curves: Curves = {}

    def train(self, observe: Callable[[int, Encoder, dict[str, float]], bool]) -> int:
        """Train from the last finished epoch to the end, or until `observe` returns False.

        Args:
            observe: called in the main process after each epoch, including 0 (no training), with the epoch, the encoder and
                the epoch's numbers, to which it may add; returns whether to continue.

        Returns:
            The last epoch that was trained.
        """
        raw = Classifier(build_encoder(self.recipe.build, **self.recipe.arguments), self.classes)
        initialise(raw, self.recipe.seed)
        lay_out(raw)
        raw_optimiser = torch.optim.AdamW(
            raw.parameters(), lr=self.recipe.lr, betas=self.recipe.betas, weight_decay=self.recipe.weight_decay, fused=True
        )
        model, optimiser = self.fabric.setup(compiled(raw, self.fabric.device, self.recipe.compile), raw_optimiser)
        remedy = "lower pretrain.lr, or look for a broken picture, and run again"
        guard = FiniteGuard(self.fabric, raw, raw_optimiser, "training loss", self._last_good, remedy)
        begin = self._resume(raw, raw_optimiser)
        sampler = self._sampler("train")
        training = self._loader("train", sampler)
        validation = self._loader("val", self._sampler("val"))
        for epoch in range(begin, self.recipe.epochs + 1):
            numbers = self._epoch(model, optimiser, training, sampler, epoch, guard) if epoch else {}
            numbers[SOURCE_ACCURACY] = accuracy(self.fabric, model, validation)
            proceed = True
            if self.fabric.is_global_zero:
                proceed = self._save(epoch, raw, raw_optimiser, numbers, observe)
            if not self.fabric.broadcast(proceed):
                return epoch
        return self.recipe.epochs

    def _resume(self, raw: Classifier, optimiser: torch.optim.Optimizer) -> int:
        """Restore the state of an interrupted pretraining and return the next epoch.

        The model must be on its device already, since loading moves the optimiser's moments to that of their parameters.
        """
        if self.progress is None:
            return 0
        load_state(self.checkpoints.state, raw, optimiser)
        self.fabric.strategy.precision.load_state_dict(self.progress["precision"])
        self.curves = self.progress["curves"]
        log.info("pretrain: %s resumes after epoch %d", self.checkpoints.path.name, self.progress["epoch"])
        return int(self.progress["epoch"]) + 1

    def _last_good(self) -> str:
        """Name the last good checkpoint for the error message."""
        state = read_progress(self.checkpoints.state) or {}
        done = int(state["epoch"]) if state.get("pretraining") == self.checkpoints.pretraining else -1
        saved = [epoch for epoch in self.checkpoints.saved if epoch <= done]
        if not saved:
            return "no checkpoint was saved before"
        file = checkpoint_path(self.checkpoints.path, saved[-1])
        state_of = f"the last good state that of epoch {done}, {self.checkpoints.state}"
        return f"the last good checkpoint is that of epoch {saved[-1]}, {file}, and {state_of}"

    def _sampler(self, split: str) -> EpochBatches:
        """Return the sampler of this process; an optimiser step has the same images for any number of devices."""
        training = split == "train"
        return EpochBatches(
            len(self.images[split]), self.recipe.micro_batch, seed=self.recipe.seed, shuffle=training, drop_last=training,
            rank=self.fabric.global_rank, world=self.fabric.world_size,
        )  # fmt: skip

    def _loader(self, split: str, sampler: EpochBatches) -> torch.utils.data.DataLoader:
        return loader(self.images[split], sampler, self.plan.section.workers, pin=self.fabric.device.type == "cuda")

    def _epoch(
        self, model: torch.nn.Module, optimiser: torch.optim.Optimizer, training: torch.utils.data.DataLoader,
        sampler: EpochBatches, epoch: int, guard: FiniteGuard,
    ) -> dict[str, float]:  # fmt: skip
        self.images["train"].set_epoch(epoch)
        sampler.set_epoch(epoch)
        label = f"pretrain {self.checkpoints.path.name} epoch {epoch}/{self.recipe.epochs}"
        bar = track(training, label, len(sampler), "batch") if self.fabric.is_global_zero else training
        whole, rest = divmod(len(sampler), self.recipe.accumulation)
        pieces = [self.recipe.accumulation] * whole or [rest]  # a dataset smaller than one step is one step
        return train_epoch(self.fabric, model, optimiser, bar, pieces, self.recipe, epoch, self.classes, guard)

    def _save(
        self, epoch: int, raw: Classifier, optimiser: torch.optim.Optimizer, numbers: dict[str, float],
        observe: Callable[[int, Encoder, dict[str, float]], bool],
    ) -> bool:  # fmt: skip
        """Save an epoch: first the checkpoint, then the state, which marks the epoch as done."""
        if epoch in self.recipe.checkpoints:
            metrics = {SOURCE_ACCURACY: numbers[SOURCE_ACCURACY]}
            save_checkpoint(self.checkpoints.path, raw, replace(self.plan.provenance, epoch=epoch, metrics=metrics))
        proceed = observe(epoch, raw.encoder, numbers)
        for name, value in numbers.items():
            self.curves.setdefault(name, {})[str(epoch)] = value
        write_curves(self.checkpoints.path, self.curves)
        progress = {
            "pretraining": self.checkpoints.pretraining, "epoch": epoch, "curves": self.curves,
            "precision": self.fabric.strategy.precision.state_dict(),
        }  # fmt: skip
        save_state(self.checkpoints.state, raw, optimiser, progress)
        return proceed
