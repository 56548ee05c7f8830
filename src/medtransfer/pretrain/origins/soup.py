"""Average of checkpoints of one pretraining, with the statistics of batch normalisation computed again.

Averages of weights are sensible only where the weights share a start and most of their way: those of one pretraining. Models
that were fine-tuned from different pretrainings, or with different decoders, have none; average their probabilities.

Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018; Wortsman et al., Model
Soups, ICML 2022.
"""

from dataclasses import dataclass
from pathlib import Path

from medtransfer.config import Pretrain
from medtransfer.config.schema import SoupOrigin
from medtransfer.data.source_folders import source_fingerprint
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.locks import exclusive
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.pretrain.reuse import reuse
from medtransfer.pretrain.start import source_of
from medtransfer.pretrain.stopping import Stopper
from medtransfer.records import CheckpointInfo, find_checkpoint, series_folder
from medtransfer.records.weights_file import tensor_names

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
                from medtransfer.pretrain.averaging import write_average

                write_average(section, plan, cell)
        return plan.checkpoints.path


@dataclass(frozen=True)
class Plan:
    """What is averaged.

    Attributes:
        start: path and record of the random initialisation of the pretraining.
        parents: those of the checkpoints, ascending.
        root: folder of the source.
        labelled: whether its folders are classes, which a pretext task does without.
        images: most source images for statistics.
        fingerprint: digest of the source images; None for an encoder without batch normalisation, which needs none.
        checkpoints: folder of the average.
    """

    start: Found
    parents: tuple[Found, ...]
    root: Path
    labelled: bool
    images: int
    fingerprint: str | None
    checkpoints: CheckpointFolder


def _entry(section: Pretrain) -> SoupOrigin:
    entry = section.origins[section.origin]
    assert isinstance(entry, SoupOrigin)
    return entry


def _plan(section: Pretrain) -> Plan:
    entry, key = _entry(section), f"pretrain.origins.{section.origin}"
    folder = series_folder(Path(section.out), section.encoder, entry.of)
    start, *parents = [find_checkpoint(folder, epoch) for epoch in (0, *sorted(entry.epochs))]
    if len(pretrainings := {info.pretraining for _, info in (start, *parents)}) > 1:
        raise InputError(
            f"expected the checkpoints of one pretraining in {folder}, but got those of {len(pretrainings)}; averages of weights "
            "need one start: keep one pretraining per folder"
        )
    last, (source, root) = parents[-1][1], _source(section, entry.of)
    fingerprint, labelled = None, "head" in last.parts or len(last.parts) == 1
    if any(name.endswith(".running_mean") for name in tensor_names(parents[-1][0].with_suffix(".safetensors"))):
        if last.source != source:
            raise InputError(
                f"expected pretrain.source {last.source!r}, of the checkpoints in {folder}, since {key} needs source images for "
                f"batch normalisation, but got {source!r}; name the source and its folder, pretrain.source_root"
            )
        fingerprint = source_fingerprint(root, "classes" if labelled else "pictures")
    options = [entry.images, section.micro_batch, section.seed, section.precision] if fingerprint else []
    weights = [info.weights for _, info in parents]
    pretraining = digest([section.encoder, section.origin, "soup", start[1].weights, weights, fingerprint, *options])
    path = series_folder(Path(section.out), section.encoder, section.origin)
    checkpoints = CheckpointFolder(path, pretraining, (0, max(entry.epochs)))
    return Plan(start, tuple(parents), root, labelled, entry.images, fingerprint, checkpoints)


def _source(section: Pretrain, origin: str) -> tuple[str, Path]:
    """Return name and folder of the source of an origin, which may have one of its own."""
    return source_of(section.model_copy(update={"origin": origin}) if origin in section.origins else section)
