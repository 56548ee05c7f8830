"""Write the average of checkpoints, with the statistics of batch normalisation computed again."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from medtransfer import tracking
from medtransfer.config import Pretrain
from medtransfer.data.labelled_images import LabelledImages
from medtransfer.data.pixels import normalise_pixels
from medtransfer.data.unlabelled_pictures import PlainPictures
from medtransfer.encoders.contract import Encoder
from medtransfer.errors import InputError
from medtransfer.hashing import canonical_json
from medtransfer.pretrain.reuse import move_aside_foreign
from medtransfer.pretrain.source import open_plain
from medtransfer.pretrain.sync import finish
from medtransfer.progress import track
from medtransfer.records import Pretraining, Provenance
from medtransfer.seeds import derive_seed
from medtransfer.training.arithmetic import arithmetic
from medtransfer.training.batch_norm import redo_statistics
from medtransfer.training.checkpoints import load_encoder, save_checkpoint
from medtransfer.training.device import open_fabric

if TYPE_CHECKING:
    from medtransfer.pretrain.origins.soup import Plan

log = logging.getLogger("medtransfer")


def write_average(section: Pretrain, plan: "Plan", cell: str) -> None:
    """Write the random initialisation and the average, and the run."""
    last, path = plan.parents[-1][1], plan.checkpoints.path
    common = {field.name: getattr(last, field.name) for field in fields(Provenance)}
    provenance = Provenance(**common | {
        "origin": section.origin, "kind": "soup", "source_classes": [], "metrics": {}, "loaded": None,
        "pretraining": plan.checkpoints.pretraining,
        "lineage": [*last.lineage, *(f"{series_file(parent)} {info.weights}" for parent, info in plan.parents)],
    })  # fmt: skip
    encoder = average([load_encoder(*parent) for parent in track(plan.parents, "pretrain: checkpoints", len(plan.parents))])
    used = _redo(section, encoder, plan) if plan.fingerprint else 0
    move_aside_foreign(plan.checkpoints)
    first = replace(provenance, epoch=0, lineage=[], licence="")
    save_checkpoint(path, nn.ModuleDict({"encoder": load_encoder(*plan.start)}), first)
    save_checkpoint(path, nn.ModuleDict({"encoder": encoder}), provenance)
    params = {
        "encoder": section.encoder, "origin": section.origin, "kind": "soup", "source": last.source, "seed": last.seed,
        "pretraining": plan.checkpoints.pretraining, "lineage": provenance.lineage[-len(plan.parents) :],
        "statistics_images": used, **({"parents": canonical_json(last.parents)} if last.parents else {}),
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


def _redo(section: Pretrain, encoder: Encoder, plan: "Plan") -> int:
    """Compute the statistics of batch normalisation again; return the number of images, whole batches of them."""
    last = plan.parents[-1][1]
    images: LabelledImages | PlainPictures = open_plain(plan.root, last.input, section.seed, plan.labelled)
    count = min(plan.images, len(images))
    size = min(section.micro_batch, count)
    if size < 2:
        raise InputError(
            f"expected at least 2 source images per batch for the statistics of batch normalisation, but got {size}; raise "
            f"pretrain.micro_batch, or add pictures to {plan.root}"
        )
    drawn = np.random.default_rng(derive_seed(section.seed, "soup")).permutation(len(images))[: count - count % size]
    fabric = open_fabric(section.accelerator, 1, section.precision)

    def batches() -> Iterator[Tensor]:
        steps = range(0, len(drawn), size)
        for start in track(steps, "pretrain: statistics of batch normalisation", len(steps), "batches"):
            pixels = torch.stack([images[index][0] for index in drawn[start : start + size].tolist()]).to(fabric.device)
            yield normalise_pixels(pixels, images.mean, images.std).contiguous()

    with arithmetic(fabric.device, tf32=section.tf32, reproducible=True), fabric.autocast():
        redo_statistics(encoder.to(fabric.device), batches())
    encoder.cpu()
    return len(drawn)
