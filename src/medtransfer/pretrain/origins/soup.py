"""Average of checkpoints of one pretraining, with the statistics of batch normalisation computed again.

Averages of weights are sensible only where the weights share a start and most of their way: those of one pretraining. Models
that were fine-tuned from different pretrainings, or with different decoders, have none; average their probabilities.

Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018; Wortsman et al., Model
Soups, ICML 2022.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from medtransfer import tracking
from medtransfer.config import Pretrain
from medtransfer.config.schema import SoupOrigin
from medtransfer.data.labelled_images import LabelledImages
from medtransfer.data.unlabelled_pictures import PlainPictures
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.reuse import move_aside_foreign, reuse
from medtransfer.pretrain.source import open_plain
from medtransfer.pretrain.start import source_of
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.sync import finish
from medtransfer.progress import track
from medtransfer.records import CheckpointInfo, Pretraining, Provenance, find_checkpoint, series_folder
from medtransfer.seeds import derive_seed
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.batch_norm import has_batch_norm, redo_statistics
from medtransfer.training.checkpoints import load_encoder, save_checkpoint
from medtransfer.training.device import open_fabric

log = logging.getLogger("medtransfer")
Found = tuple[Path, CheckpointInfo]


class Soup:
    """Encoder averaged over checkpoints of another origin; see `Origin`."""

    section = SoupOrigin
    parts = ("encoder",)
    trains = False

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the random initialisation and the last of the averaged epochs."""
        return 0, max(_entry(section).epochs)

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Average the checkpoints, or reuse a finished average."""
        plan = _plan(section)
        cell = digest([plan.checkpoints.pretraining, plan.checkpoints.epochs, "soup"], 16)
        with exclusive(plan.checkpoints.path):
            if force or not reuse(plan.checkpoints, cell):
                _cook(section, plan, cell)
        return plan.checkpoints.path


@dataclass(frozen=True)
class _Plan:
    """What is averaged.

    Attributes:
        start: path and record of the random initialisation of the pretraining.
        parents: those of the checkpoints, ascending.
        root: folder of the source.
        images: source images for statistics; None for an encoder without batch normalisation.
        fingerprint: digest of the source images; None likewise.
        checkpoints: folder of the average.
    """

    start: Found
    parents: tuple[Found, ...]
    root: Path
    images: LabelledImages | PlainPictures | None
    fingerprint: str | None
    checkpoints: CheckpointFolder


def _entry(section: Pretrain) -> SoupOrigin:
    entry = section.origins[section.origin]
    assert isinstance(entry, SoupOrigin)
    return entry


def _plan(section: Pretrain) -> _Plan:
    entry, key = _entry(section), f"pretrain.origins.{section.origin}"
    folder = series_folder(Path(section.out), section.encoder, entry.of)
    start, *parents = [find_checkpoint(folder, epoch) for epoch in (0, *sorted(entry.epochs))]
    if len(pretrainings := {info.pretraining for _, info in (start, *parents)}) > 1:
        raise InputError(
            f"expected the checkpoints of one pretraining in {folder}, but got those of {len(pretrainings)}; averages of weights "
            "need one start: keep one pretraining per folder"
        )
    last, (source, root) = parents[-1][1], _source(section, entry.of)
    images = fingerprint = None
    if has_batch_norm(load_encoder(*parents[-1])):
        if last.source != source:
            raise InputError(
                f"expected pretrain.source {last.source!r}, of the checkpoints in {folder}, since {key} needs source images for "
                f"batch normalisation, but got {source!r}; name the source and its folder, pretrain.source_root"
            )
        images = open_plain(root, last.input, section.seed, labelled="head" in last.parts or len(last.parts) == 1)
        fingerprint = images.fingerprint()
    options = [entry.images, section.micro_batch, section.seed, section.precision] if images else []
    weights = [info.weights for _, info in parents]
    pretraining = digest([section.encoder, section.origin, "soup", start[1].weights, weights, fingerprint, *options])
    path = series_folder(Path(section.out), section.encoder, section.origin)
    return _Plan(start, tuple(parents), root, images, fingerprint, CheckpointFolder(path, pretraining, (0, max(entry.epochs))))


def _source(section: Pretrain, origin: str) -> tuple[str, Path]:
    """Return name and folder of the source of an origin, which may have one of its own."""
    return source_of(section.model_copy(update={"origin": origin}) if origin in section.origins else section)


def _cook(section: Pretrain, plan: _Plan, cell: str) -> None:
    last, path = plan.parents[-1][1], plan.checkpoints.path
    common = {field.name: getattr(last, field.name) for field in fields(Provenance)}
    provenance = Provenance(**common | {
        "origin": section.origin, "kind": "soup", "source_classes": [], "metrics": {}, "loaded": None,
        "pretraining": plan.checkpoints.pretraining,
        "lineage": [*last.lineage, *(f"{series_file(parent)} {info.weights}" for parent, info in plan.parents)],
    })  # fmt: skip
    encoder = average([load_encoder(*parent) for parent in track(plan.parents, "pretrain: checkpoints", len(plan.parents))])
    used = _redo(section, encoder, plan.images, plan.root) if plan.images else 0
    move_aside_foreign(plan.checkpoints)
    first = replace(provenance, epoch=0, lineage=[], licence="")
    save_checkpoint(path, nn.ModuleDict({"encoder": load_encoder(*plan.start)}), first)
    save_checkpoint(path, nn.ModuleDict({"encoder": encoder}), provenance)
    params = {
        "encoder": section.encoder, "origin": section.origin, "kind": "soup", "source": last.source, "seed": last.seed,
        "pretraining": plan.checkpoints.pretraining, "lineage": provenance.lineage[-len(plan.parents) :],
        "statistics_images": used,
    }  # fmt: skip
    epochs = list(plan.checkpoints.epochs)
    averaged = ", ".join(str(info.epoch) for _, info in plan.parents)
    tags = {"saved": " ".join(map(str, epochs)), "stopped": f"averaged over the epochs {averaged} of {plan.parents[0][1].origin}"}
    inputs = [[last.source, plan.fingerprint, str(plan.root), "statistics"]] if plan.fingerprint else []
    done = Pretraining(
        path.name,
        cell,
        plan.checkpoints.pretraining,
        epochs,
        {name: str(value) for name, value in params.items()},
        tags,
        {},
        inputs,
    )
    with tracking.open_run("pretrain", path.name, cell, params, {}, on_disk=True) as run:
        finish(run, path, done)
    log.info(
        "pretrain %s: epoch %d is the average of the epochs %s of %s%s", path.name, epochs[-1], averaged,
        plan.parents[0][1].origin, f", with batch normalisation by {used} source images" if used else "",
    )  # fmt: skip


def series_file(path: Path) -> str:
    """Return the name of a checkpoint's weights below the folder of all pretrainings."""
    return f"{path.parent.name}/{path.with_suffix('.safetensors').name}"


def average(encoders: Sequence[Encoder]) -> Encoder:
    """Return the last encoder with the mean of all weights; whole numbers, such as counts and indices, stay its own."""
    states = [encoder.state_dict() for encoder in encoders]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point() else tensor
        for name, tensor in states[-1].items()
    }  # fmt: skip
    encoders[-1].load_state_dict(mean)
    return encoders[-1]


def _redo(section: Pretrain, encoder: Encoder, images: LabelledImages | PlainPictures, root: Path) -> int:
    """Compute the statistics of batch normalisation again; return the number of images, whole batches of them."""
    count = min(_entry(section).images, len(images))
    size = min(section.micro_batch, count)
    if size < 2:
        raise InputError(
            f"expected at least 2 source images per batch for the statistics of batch normalisation, but got {size}; raise "
            f"pretrain.micro_batch, or add pictures to {root}"
        )
    drawn = np.random.default_rng(derive_seed(section.seed, "soup")).permutation(len(images))[: count - count % size]
    fabric = open_fabric(section.accelerator, 1, section.precision)

    def batches() -> Iterator[Tensor]:
        steps = range(0, len(drawn), size)
        for start in track(steps, "pretrain: statistics of batch normalisation", len(steps), "batches"):
            yield torch.stack([images[index][0] for index in drawn[start : start + size].tolist()]).to(fabric.device)

    with arithmetic(fabric.device, tf32=section.tf32, reproducible=True), fabric.autocast():
        redo_statistics(encoder.to(fabric.device), batches())
    encoder.cpu()
    return len(drawn)
