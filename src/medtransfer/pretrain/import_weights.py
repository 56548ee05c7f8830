"""A file of published weights goes in; a series of two checkpoints comes out: random initialisation and the weights.

torchvision's and timm's ResNet50 and Swin-T load under their own names; nothing is trained and no source image is needed.
"""

import logging
from pathlib import Path
from typing import Any

from torch import nn

from medtransfer import tracking
from medtransfer.config import Pretrain
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.weights import LoadAudit, load_encoder_weights, read_weights
from medtransfer.environment import git_revision
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256
from medtransfer.locks import exclusive
from medtransfer.pretrain.folder import Series
from medtransfer.pretrain.recipe import IMAGENET_MEAN, IMAGENET_STD, input_contract
from medtransfer.pretrain.reuse import make_room, reuse
from medtransfer.pretrain.sync import finish
from medtransfer.records import Pretraining, series_folder
from medtransfer.training.checkpoints import save_checkpoint

log = logging.getLogger("medtransfer")


def run(section: Pretrain, force: bool = False) -> Path:
    """Import the weights that the section names, or reuse a finished import.

    Args:
        section: validated params; `weights` is set.
        force: import again although it is finished.

    Returns:
        The folder of the checkpoints: epoch 0 and `weights_epoch`.

    Raises:
        InputError: the file is missing, broken or no fit for the encoder; nothing is written then.
    """
    file = Path(str(section.weights))
    if not file.is_file():
        raise InputError(f"expected the weights file {file}, which pretrain.weights names, but there is none; correct the path")
    facts = _facts(section, file)
    folder = series_folder(Path(section.out), section.encoder, section.origin)
    series = Series(folder, facts["pretraining"], (0, section.weights_epoch))
    with exclusive(folder):
        _run(section, file, facts, series, force)
    return folder


def _run(section: Pretrain, file: Path, facts: dict[str, Any], series: Series, force: bool) -> None:
    cell = digest([series.pretraining, series.epochs, "import"], 16)
    if not force and reuse(series, cell):
        return
    random, imported = _encoder(section), _encoder(section)
    tensors = read_weights(file, allow_pickle=section.weights_pickle)
    audit = load_encoder_weights(imported, tensors, source=str(file), allow_partial=section.allow_partial)
    log.info("pretrain: %s", audit)
    make_room(series)
    facts["arguments"] = imported.arguments
    for epoch, encoder, parent in ((0, random, None), (section.weights_epoch, imported, facts["parent"])):
        # a published head's classes are not known by name, so only the encoder is kept
        save_checkpoint(series.folder, nn.ModuleDict({"encoder": encoder}), {**facts, "epoch": epoch, "parent": parent})
    _log(section, series, cell, facts, audit)


def _facts(section: Pretrain, file: Path) -> dict[str, Any]:
    """Give the fields of the checkpoints' records, the identity of the import among them."""
    parent = f"{file.name} {file_sha256(file)}"
    contract = input_contract(section.size, IMAGENET_MEAN, IMAGENET_STD)
    spec = section.encoders[section.encoder]
    made_of = [section.encoder, spec.build, spec.arguments, section.origin, section.source, section.seed, contract, parent]
    return {
        "encoder": section.encoder, "build": spec.build, "source": section.source, "source_classes": [], "origin": section.origin,
        "source_accuracy": None, "input": contract, "seed": section.seed, "parent": parent,
        "pretraining": digest([*made_of, section.weights_epoch, section.allow_partial]),
        "git_revision": git_revision(Path.cwd()),
    }  # fmt: skip


def _encoder(section: Pretrain) -> Encoder:
    spec = section.encoders[section.encoder]
    encoder = build_encoder(spec.build, **spec.arguments)
    initialise(encoder, section.seed)
    return encoder


def _log(section: Pretrain, series: Series, cell: str, facts: dict[str, Any], audit: LoadAudit) -> None:
    params = {
        "encoder": section.encoder, "arguments": facts["arguments"], "origin": section.origin, "source": section.source,
        "size": section.size, "seed": section.seed, "pretraining": series.pretraining, "parent": facts["parent"],
        "weights_epoch": section.weights_epoch, "allow_partial": section.allow_partial, "weight_names": audit.mapping,
        "weights_matched": audit.matched, "weights_total": audit.total, "weights_left_out": len(audit.left_out),
    }  # fmt: skip
    saved = " ".join(map(str, series.epochs))
    done = Pretraining(
        series.folder.name, cell, series.pretraining, list(series.epochs), {name: str(value) for name, value in params.items()},
        {"weights_audit": str(audit), "saved": saved, "stopped": f"imported from {facts['parent']}"},
        {"weights_changed": {str(section.weights_epoch): audit.changed}}, [],
    )  # fmt: skip
    with tracking.open_run("pretrain", series.folder.name, cell, params, {}, on_disk=True) as handle:
        handle.log_metrics({"weights_changed": audit.changed}, section.weights_epoch)
        finish(handle, series.folder, done)
    log.info("pretrain %s: the checkpoints of epochs %s lie in %s", series.folder.name, saved.replace(" ", ", "), series.folder)
