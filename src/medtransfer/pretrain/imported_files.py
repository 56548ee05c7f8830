"""Read weights files into encoders, and write these as the checkpoints of a pretraining."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medtransfer import tracking
from medtransfer.config import Pretrain
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.source_head import NoHead, head_tensors
from medtransfer.encoders.weights import LoadAudit, load_encoder_weights
from medtransfer.encoders.weights_file import read_weights
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.import_weights import WeightsImport
from medtransfer.pretrain.reuse import move_aside_foreign
from medtransfer.pretrain.sync import finish
from medtransfer.progress import track
from medtransfer.records import Pretraining, Provenance
from medtransfer.training.checkpoints import save_checkpoint
from medtransfer.wording import epoch_list

KEPT = 4  # encoders in memory; further files of a series are read a second time

log = logging.getLogger("medtransfer")
Tensors = Mapping[str, Tensor]


def write_checkpoints(
    section: Pretrain, weights: WeightsImport, checkpoints: CheckpointFolder, provenances: dict[int, Provenance], cell: str
) -> None:  # fmt: skip
    """Read all files, then write the random initialisation, a checkpoint of each file, and the run.

    Raises:
        InputError: a file is broken or does not fit the encoder; nothing is written then.
    """
    encoders, audits, heads = dict[int, Encoder](), dict[int, LoadAudit](), dict[int, dict[str, Tensor]]()
    for epoch, file in track(weights.files.items(), "pretrain: weights files", len(weights.files), "files"):
        encoder = _random(section)
        audits[epoch], heads[epoch] = _load(encoder, file, weights)  # an invalid file raises before anything is written
        _log_audit(audits[epoch], file)
        if len(encoders) < KEPT:
            encoders[epoch] = encoder
    move_aside_foreign(checkpoints)
    first = next(iter(provenances.values()))
    first_model = nn.ModuleDict({"encoder": _random(section)})
    save_checkpoint(checkpoints.path, first_model, replace(first, epoch=0, lineage=[], licence="", parents=[]))
    for epoch, file in weights.files.items():
        if (kept := encoders.pop(epoch, None)) is None:
            kept = _random(section)
            _load(kept, file, weights)
        loaded = {"matched": audits[epoch].matched, "total": audits[epoch].total}
        model = nn.ModuleDict({"encoder": kept})
        save_checkpoint(checkpoints.path, model, replace(provenances[epoch], loaded=loaded), heads[epoch])
    _store(checkpoints, provenances, audits, cell, {"allow_partial": weights.allow_partial, "size": first.input["size"]})


def _build(section: Pretrain) -> Encoder:
    spec = section.encoders[section.encoder]
    return build_encoder(spec.build, **spec.arguments)


def _random(section: Pretrain) -> Encoder:
    encoder = _build(section)
    initialise(encoder, section.seed)
    return encoder


def _load(encoder: Encoder, file: Path, weights: WeightsImport) -> tuple[LoadAudit, dict[str, Tensor]]:
    """Load a file into the encoder; also return the tensors of its source head, if it has one."""
    tensors: Tensors = read_weights(file, allow_pickle=weights.pickle)
    if weights.rename:
        tensors = weights.rename(encoder, tensors)
    audit = load_encoder_weights(
        encoder, tensors, source=str(file), mapping="direct" if weights.rename else None, allow_partial=weights.allow_partial,
        prefix=weights.prefix or "", channels=weights.contract["channels"] if weights.contract else "RGB",
    )  # fmt: skip
    own = head_tensors(encoder, tensors, audit)
    head = NoHead(weights.without_head) if weights.without_head else encoder.source_head(own)
    if isinstance(head, NoHead):
        log.info("pretrain: no source head is kept of %s: %s", file, head.reason)
        return audit, {}
    log.info("pretrain: the classifier of %s, of %d classes, is kept as source head, and read as a softmax", file, head.classes)
    return audit, own


def _log_audit(audit: LoadAudit, file: Path) -> None:
    log.info("pretrain: %s", audit)
    if audit.matched < audit.total:
        log.warning(
            "pretrain: only %d of %d encoder tensors come from %s; the others are random", audit.matched, audit.total, file
        )  # fmt: skip


def _store(
    checkpoints: CheckpointFolder, provenances: dict[int, Provenance], audits: dict[int, LoadAudit], cell: str,
    options: dict[str, Any],
) -> None:  # fmt: skip
    """Write the run; values that differ by file are listed in the order of their epochs."""
    first, parents = next(iter(provenances.values())), [provenance.lineage[-1] for provenance in provenances.values()]
    params = {
        "encoder": first.encoder, "origin": first.origin, "kind": first.kind, "source": first.source, "seed": first.seed,
        "pretraining": first.pretraining, "lineage": parents, **options,
        "weight_names": " ".join(audit.mapping for audit in audits.values()),
        "weights_matched": " ".join(str(audit.matched) for audit in audits.values()),
        "weights_total": " ".join(str(audit.total) for audit in audits.values()),
        "weights_left_out": " ".join(str(len(audit.left_out)) for audit in audits.values()),
    }  # fmt: skip
    epochs = list(map(str, checkpoints.epochs))
    tags = {
        "weights_audit": "; ".join(map(str, audits.values())), "saved": " ".join(epochs),
        "stopped": f"imported from {', '.join(parents)}",
    }  # fmt: skip
    metrics = {
        "weights_changed": {epoch: audit.changed for epoch, audit in audits.items()},
        "weights_matched": {epoch: audit.matched / audit.total for epoch, audit in audits.items()},
    }
    done = Pretraining(
        checkpoints.path.name, cell, checkpoints.pretraining, list(checkpoints.epochs),
        {name: str(value) for name, value in params.items()}, tags,
        {name: {str(epoch): value for epoch, value in values.items()} for name, values in metrics.items()}, [],
    )  # fmt: skip
    with tracking.open_run("pretrain", checkpoints.path.name, cell, params, {}, on_disk=True) as run:
        run.log_curves(metrics)
        finish(run, checkpoints.path, done)
    log.info(
        "pretrain %s: the checkpoints of epochs %s are in %s",
        checkpoints.path.name, epoch_list(checkpoints.epochs), checkpoints.path,
    )  # fmt: skip
