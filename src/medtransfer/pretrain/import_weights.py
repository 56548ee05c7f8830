"""Import weights files as a pretraining's checkpoints: the random initialisation, and each file by its epoch.

No source images are needed. Files must fit completely, unless `allow_partial` is set; the audit is logged.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medtransfer import tracking
from medtransfer.config import Pretrain
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.source_head import NoHead, head_tensors
from medtransfer.encoders.weights import LoadAudit, load_encoder_weights
from medtransfer.encoders.weights_file import read_weights
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256
from medtransfer.locks import exclusive
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.recipe import input_contract
from medtransfer.pretrain.reuse import move_aside_foreign, reuse
from medtransfer.pretrain.sync import finish
from medtransfer.pretrain.weights_files import name_unwatched
from medtransfer.progress import track
from medtransfer.records import CheckpointInfo, Pretraining, Provenance, series_folder
from medtransfer.training.checkpoints import save_checkpoint

KEPT = 4  # encoders in memory; further files of a series are read a second time

log = logging.getLogger("medtransfer")
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class WeightsImport:
    """Weights files to import.

    Attributes:
        kind: kind of the origin.
        files: weights files by epoch.
        source: name of the dataset that they were trained on.
        contract: expected size, mean, std and channels; None for those of the file's own checkpoint record, else of the
            architecture's published weights, else ImageNet's.
        pickle: whether a pickle may be read.
        allow_partial: whether to load the tensors that fit although others do not.
        prefix: start of the names to take, None for all.
        rename: maps the tensors' names to the encoder's; None to try the known mappings.
        licence: licence of the weights, empty for that of the file's own checkpoint record.
        without_head: why a classifier in the files is not kept as source head; empty to keep it.
    """

    kind: str
    files: dict[int, Path]
    source: str
    contract: dict[str, Any] | None
    pickle: bool = False
    allow_partial: bool = False
    prefix: str | None = None
    rename: Callable[[Encoder, Tensors], Tensors] | None = None
    licence: str = ""
    without_head: str = ""


def import_weights(section: Pretrain, weights: WeightsImport, force: bool) -> Path:
    """Import weights files, or reuse a finished import.

    Args:
        section: validated params.
        weights: files to import.
        force: whether to repeat a finished import.

    Returns:
        The folder of the checkpoints.

    Raises:
        InputError: a file is missing, broken or does not fit the encoder; nothing is written then.
    """
    name_unwatched(section, weights.files.values())
    provenances = _provenances(section, weights)
    folder = series_folder(Path(section.out), section.encoder, section.origin)
    checkpoints = CheckpointFolder(folder, next(iter(provenances.values())).pretraining, (0, *weights.files))
    cell = digest([checkpoints.pretraining, checkpoints.epochs, weights.kind], 16)
    with exclusive(folder):
        if force or not reuse(checkpoints, cell):
            _import(section, weights, checkpoints, provenances, cell)
    return folder


def _provenances(section: Pretrain, weights: WeightsImport) -> dict[int, Provenance]:
    """Return the provenance of each file's weights by epoch; all must have the same input contract."""
    digests = {epoch: file_sha256(file) for epoch, file in weights.files.items()}
    own = {epoch: _own_record(file, digests[epoch]) for epoch, file in weights.files.items()}
    contracts = [weights.contract or _contract(section, info) for info in own.values()]
    if any(contract != contracts[0] for contract in contracts):
        raise InputError(
            f"expected files of one input contract in pretrain.origins.{section.origin}, but got {len(contracts)} that differ; "
            "make an origin of each, or set `input`"
        )
    spec = section.encoders[section.encoder]
    options = [section.seed, weights.source, contracts[0], weights.allow_partial, *([weights.prefix] if weights.prefix else [])]
    common = Provenance(
        encoder=section.encoder, origin=section.origin, kind=weights.kind, source=weights.source, source_classes=[],
        input=_in_rgb(contracts[0]), seed=section.seed,
        pretraining=digest([section.encoder, spec.build, spec.arguments, section.origin, sorted(digests.items()), *options]),
    )  # fmt: skip
    ancestors = {epoch: info.lineage if info else [] for epoch, info in own.items()}
    parents = {epoch: info.parents if info else [] for epoch, info in own.items()}
    licences = {epoch: weights.licence or (info.licence if info else "") for epoch, info in own.items()}
    return {
        epoch: replace(
            common, epoch=epoch, lineage=[*ancestors[epoch], f"{file.name} {digests[epoch]}"], licence=licences[epoch],
            parents=parents[epoch],
        )
        for epoch, file in weights.files.items()
    }  # fmt: skip


def _own_record(file: Path, sha256: str) -> CheckpointInfo | None:
    """Read the record beside a weights file if the file belongs to one of our own checkpoints."""
    path = file.with_suffix(".json")
    if not (file.name.startswith("epoch-") and path.is_file()):
        return None
    info = CheckpointInfo.read(path)
    return info if info.weights == sha256 else None


def _contract(section: Pretrain, info: CheckpointInfo | None) -> dict[str, Any]:
    """Return the contract of one of our own checkpoints, else that of the architecture's published weights."""
    if info:
        return info.input
    with torch.device("meta"):
        encoder = _build(section)
    return input_contract(encoder.input_size or section.size, encoder.mean, encoder.std)


def _in_rgb(contract: dict[str, Any]) -> dict[str, Any]:
    """Return the contract after the conversion of the first convolution to RGB."""
    order = -1 if contract["channels"] == "BGR" else 1
    return {**contract, "mean": contract["mean"][::order], "std": contract["std"][::order], "channels": "RGB"}


def _import(
    section: Pretrain, weights: WeightsImport, checkpoints: CheckpointFolder, provenances: dict[int, Provenance], cell: str
) -> None:  # fmt: skip
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
    log.info("pretrain %s: the checkpoints of epochs %s are in %s", checkpoints.path.name, ", ".join(epochs), checkpoints.path)
