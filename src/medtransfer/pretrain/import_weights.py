"""Import weights files as a pretraining's checkpoints: the random initialisation, and each file by its epoch.

No source images are needed. Files must fit completely, unless `allow_partial` is set; the audit is logged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.config import Pretrain
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256
from medtransfer.locks import exclusive
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.recipe import input_contract
from medtransfer.pretrain.reuse import reuse
from medtransfer.pretrain.weights_files import name_unwatched
from medtransfer.records import CheckpointInfo, Provenance, series_folder

if TYPE_CHECKING:
    from torch import Tensor

    from medtransfer.encoders.contract import Encoder


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
    rename: "Callable[[Encoder, Mapping[str, Tensor]], Mapping[str, Tensor]] | None" = None
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
            from medtransfer.pretrain.imported_files import write_checkpoints

            write_checkpoints(section, weights, checkpoints, provenances, cell)
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
    from medtransfer.encoders.build import build_encoder
    from medtransfer.encoders.without_values import without_values

    spec = section.encoders[section.encoder]
    with without_values():
        encoder = build_encoder(spec.build, **spec.arguments)
    return input_contract(encoder.input_size or section.size, encoder.mean, encoder.std)


def _in_rgb(contract: dict[str, Any]) -> dict[str, Any]:
    """Return the contract after the conversion of the first convolution to RGB."""
    order = -1 if contract["channels"] == "BGR" else 1
    return {**contract, "mean": contract["mean"][::order], "std": contract["std"][::order], "channels": "RGB"}
