"""A recipe and source images go in; checkpoints appear in the series' folder, from the last finished epoch on."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric

from medtransfer.data.pretraining_images import SourceImages
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.pretrain.folder import Series
from medtransfer.pretrain.loop import accuracy, train_epoch
from medtransfer.pretrain.recipe import Recipe
from medtransfer.progress import track
from medtransfer.records import checkpoint_path
from medtransfer.training.checkpoints import save_checkpoint
from medtransfer.training.device import compiled, lay_out
from medtransfer.training.finite_check import FiniteGuard
from medtransfer.training.state import load_state, read_progress, save_state

log = logging.getLogger("medtransfer")
Curves = dict[str, dict[str, float]]  # metric -> epoch (as JSON has it, a string) -> value


class Trainer:
    """One pretraining on this process; a distributed job has one a process."""

    def __init__(
        self, recipe: Recipe, series: Series, images: dict[str, SourceImages], fabric: Fabric, workers: int,
        facts: dict[str, Any], progress: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        """Take what a pretraining needs.

        Args:
            recipe: what to do.
            series: where the checkpoints go.
            images: source images of the splits `train` and `val`.
            fabric: launched.
            workers: loader processes.
            facts: fields of the checkpoints' records that do not change by epoch.
            progress: of an interrupted pretraining, to go on from; None to start anew.
        """
        self.recipe, self.series, self.images, self.fabric = recipe, series, images, fabric
        self.workers, self.facts, self.progress = workers, facts, progress
        self.classes = len(images["train"].classes)
        self.curves: Curves = {}

    def train(self, observe: Callable[[int, Encoder, dict[str, float]], bool]) -> int:
        """Train from the last finished epoch to the end, or until `observe` says stop.

        Args:
            observe: called in the main process after each epoch, 0 (no training) among them, with the epoch, the encoder
                and the epoch's numbers, which it may add to; tells whether to go on.

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
            numbers["source_accuracy"] = accuracy(self.fabric, model, validation)
            go_on = True
            if self.fabric.is_global_zero:
                go_on = self._close(epoch, raw, raw_optimiser, numbers, observe)
            if not self.fabric.broadcast(go_on):
                return epoch
        return self.recipe.epochs

    def _resume(self, raw: Classifier, optimiser: torch.optim.Optimizer) -> int:
        """Put back the state of an interrupted pretraining and give the epoch to go on with.

        The model lies on its device by then: an optimiser's moments follow its parameters only when they are loaded.
        """
        if self.progress is None:
            return 0
        load_state(self.series.state, raw, optimiser)
        self.fabric.strategy.precision.load_state_dict(self.progress["precision"])
        self.curves = self.progress["curves"]
        log.info("pretrain: %s goes on after epoch %d", self.series.folder.name, self.progress["epoch"])
        return int(self.progress["epoch"]) + 1

    def _last_good(self) -> str:
        """Say what there is from before a loss that is not finite."""
        state = read_progress(self.series.state) or {}
        done = int(state["epoch"]) if state.get("pretraining") == self.series.pretraining else -1
        saved = [epoch for epoch in self.series.saved if epoch <= done]
        if not saved:
            return "no checkpoint was saved before"
        file = checkpoint_path(self.series.folder, saved[-1])
        state_there = f"the last good state that of epoch {done}, {self.series.state}"
        return f"the last good checkpoint is that of epoch {saved[-1]}, {file}, and {state_there}"

    def _sampler(self, split: str) -> EpochBatches:
        """Lay out this process's micro-batches; an optimiser step has the same images for any number of devices."""
        training = split == "train"
        return EpochBatches(
            len(self.images[split]), self.recipe.micro_batch, seed=self.recipe.seed, shuffle=training, drop_last=training,
            rank=self.fabric.global_rank, world=self.fabric.world_size,
        )  # fmt: skip

    def _loader(self, split: str, sampler: EpochBatches) -> torch.utils.data.DataLoader:
        return loader(self.images[split], sampler, self.workers, pin=self.fabric.device.type == "cuda")

    def _epoch(
        self, model: torch.nn.Module, optimiser: torch.optim.Optimizer, training: torch.utils.data.DataLoader,
        sampler: EpochBatches, epoch: int, guard: FiniteGuard,
    ) -> dict[str, float]:  # fmt: skip
        self.images["train"].set_epoch(epoch)
        sampler.set_epoch(epoch)
        label = f"pretrain {self.series.folder.name} epoch {epoch}/{self.recipe.epochs}"
        bar = track(training, label, len(sampler), "batch") if self.fabric.is_global_zero else training
        whole, rest = divmod(len(sampler), self.recipe.accumulation)
        pieces = [self.recipe.accumulation] * whole or [rest]  # a set smaller than one step is one step
        return train_epoch(self.fabric, model, optimiser, bar, pieces, self.recipe, epoch, self.classes, guard)

    def _close(
        self, epoch: int, raw: Classifier, optimiser: torch.optim.Optimizer, numbers: dict[str, float],
        observe: Callable[[int, Encoder, dict[str, float]], bool],
    ) -> bool:  # fmt: skip
        """Save what the epoch brought: first the checkpoint, then the state that says that the epoch is done."""
        if epoch in self.recipe.checkpoints:
            measured = {"epoch": epoch, "source_accuracy": numbers["source_accuracy"]}
            save_checkpoint(self.series.folder, raw, {**self.facts, "arguments": raw.encoder.arguments, **measured})
        go_on = observe(epoch, raw.encoder, numbers)
        for name, value in numbers.items():
            self.curves.setdefault(name, {})[str(epoch)] = value
        self.series.write_curves(self.curves)
        progress = {
            "pretraining": self.series.pretraining, "epoch": epoch, "curves": self.curves,
            "precision": self.fabric.strategy.precision.state_dict(),
        }  # fmt: skip
        save_state(self.series.state, raw, optimiser, progress)
        return go_on
