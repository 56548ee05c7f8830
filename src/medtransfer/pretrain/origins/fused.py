"""A fusion of checkpoints of ours: one checkpoint whose encoder has the encoders of all of them, with their weights."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from medtransfer import tracking
from medtransfer.config import FusedOrigin, Pretrain
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.pretrain.epochs import FUSED
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.recipe import PIXELS_AS_THEY_ARE, input_contract
from medtransfer.pretrain.reuse import move_aside_foreign, reuse
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.sync import finish
from medtransfer.records import CheckpointInfo, Pretraining, Provenance, series_folder

BUILD = "fused"  # key of ENCODERS

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Parent:
    """A checkpoint that is fused.

    Attributes:
        path: its record.
        info: the content of the record.
    """

    path: Path
    info: CheckpointInfo

    @property
    def line(self) -> str:
        """Line of the lineage: the file and its digest."""
        return f"{self.path.parent.name}/{self.path.with_suffix('.safetensors').name} {self.info.weights}"


class Fused:
    """The encoders of several checkpoints as one; see `Origin`."""

    section = FusedOrigin
    parts = ("encoder",)
    trains = False

    def epochs(self, section: Pretrain) -> tuple[int, ...]:
        """List the random initialisation and the fusion."""
        return 0, FUSED

    def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
        """Fuse the checkpoints, or reuse a finished fusion."""
        spec = section.encoders[section.encoder]
        if spec.build != BUILD or "sources" in spec.arguments:
            raise InputError(
                f"expected an encoder of build {BUILD} without `sources` for the origin {section.origin}, which names "
                f"them, but pretrain.encoders.{section.encoder} is {spec.build} with {', '.join(spec.arguments) or 'no argument'}; "
                f"name one such as {{build: {BUILD}}}"
            )
        parents = _read_parents(section)
        provenance = _provenance(section, parents)
        folder = series_folder(Path(section.out), section.encoder, section.origin)
        checkpoints = CheckpointFolder(folder, provenance.pretraining, self.epochs(section))
        cell = digest([checkpoints.pretraining, checkpoints.epochs, provenance.kind], 16)
        with exclusive(folder):
            if force or not reuse(checkpoints, cell):
                _write(section, parents, checkpoints, provenance, cell)
        return folder


def _read_parents(section: Pretrain) -> list[Parent]:
    """Read the records of the checkpoints that the origin names, with or without an ending."""
    origin = section.origins[section.origin]
    assert isinstance(origin, FusedOrigin)
    paths = [Path(source) for source in origin.sources]
    paths = [path if path.suffix == ".json" else path.with_suffix(".json") for path in paths]
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(
            f"expected the checkpoint {missing[0]}, which pretrain.origins.{section.origin}.sources names, but there is none; name "
            "one such as checkpoints/unet-simple/epoch-010, or make it with `medtransfer pretrain` first"
        )
    return [Parent(path, CheckpointInfo.read(path)) for path in paths]


def _provenance(section: Pretrain, parents: Sequence[Parent]) -> Provenance:
    infos, spec = [parent.info for parent in parents], section.encoders[section.encoder]
    described = [[info.weights, info.build, info.arguments, info.input] for info in infos]
    size = max(info.input["size"] for info in infos)
    return Provenance(
        encoder=section.encoder, origin=section.origin, kind="fused", epoch=FUSED, source_classes=[], seed=section.seed,
        source="+".join(dict.fromkeys(info.source for info in infos)),
        input=input_contract(size, **PIXELS_AS_THEY_ARE),
        pretraining=digest([section.encoder, spec.arguments, section.origin, described, section.seed]),
        lineage=list(dict.fromkeys(line for parent in parents for line in (*parent.info.lineage, parent.line))),
        licence=", ".join(dict.fromkeys(info.licence for info in infos if info.licence)),
    )  # fmt: skip


def _write(
    section: Pretrain, parents: Sequence[Parent], checkpoints: CheckpointFolder, provenance: Provenance, cell: str
) -> None:  # fmt: skip
    """Write the checkpoints and the run."""
    from torch import nn

    from medtransfer.encoders.fused import fuse
    from medtransfer.encoders.initialise import initialise
    from medtransfer.training.checkpoints import load_encoder, save_checkpoint

    options = section.encoders[section.encoder].arguments
    try:
        encoder = fuse([(load_encoder(parent.path, parent.info), parent.info.input) for parent in parents], **options)
    except InputError as error:
        raise InputError(f"expected sources of pretrain.origins.{section.origin} that can be fused, but {error}") from None
    move_aside_foreign(checkpoints)
    save_checkpoint(checkpoints.path, nn.ModuleDict({"encoder": encoder}), provenance)
    initialise(encoder, section.seed)
    random = replace(provenance, epoch=0, lineage=[], licence="")
    save_checkpoint(checkpoints.path, nn.ModuleDict({"encoder": encoder}), random)
    facts = {name: asdict(provenance)[name] for name in ("encoder", "origin", "kind", "source", "seed", "pretraining")}
    params: dict[str, Any] = {**facts, "lineage": [parent.line for parent in parents], **encoder.head_options}
    epochs = list(map(str, checkpoints.epochs))
    tags = {"saved": " ".join(epochs), "stopped": f"fused of {', '.join(str(parent.path) for parent in parents)}"}
    done = Pretraining(
        checkpoints.path.name, cell, checkpoints.pretraining, list(checkpoints.epochs),
        {name: str(value) for name, value in params.items()}, tags, {}, [],
    )  # fmt: skip
    with tracking.open_run("pretrain", checkpoints.path.name, cell, params, {}, on_disk=True) as run:
        finish(run, checkpoints.path, done)
    log.info("pretrain %s: the fusion of %d encoders is in %s", checkpoints.path.name, len(parents), checkpoints.path)
