"""Describe the model of a cell in `model.json`, so that it can be used without params, target or checkpoint."""

from dataclasses import asdict
from pathlib import Path

from medtransfer.data.pixels import per_channel
from medtransfer.encoders.channels import describe_adaptation, with_channels
from medtransfer.environment import git_revision
from medtransfer.finetune.fine_tuning import FineTuning
from medtransfer.hashing import file_sha256
from medtransfer.records import MODEL_FILE, WEIGHTS_FILE, ModelInfo


def write_model(tuning: FineTuning, parts: list[str]) -> None:
    """Write the record of a trained model beside its weights, which hold the given parts."""
    target, checkpoint = tuning.target.info, tuning.info
    channels = target.input_channels
    mean, std = ([float(value) for value in per_channel(checkpoint.input[name], channels)] for name in ("mean", "std"))
    adaptation = describe_adaptation(checkpoint.arguments, channels)
    ModelInfo(
        cell=asdict(tuning.cell), key=tuning.cell.key, task=target.task, classes=target.classes,
        thresholds=tuning.task.thresholds(len(target.classes)), build=checkpoint.build,
        arguments=with_channels(checkpoint.arguments, channels),
        decoder=tuning.decoder, input=target.input, size=list(tuning.target.images.shape[1:3]),
        channels=target.channels, mean=mean, std=std, image_rule=target.image_rule, parts=parts,
        weights=file_sha256(tuning.folder / WEIGHTS_FILE), kind=checkpoint.kind, 
        lineage=[*checkpoint.lineage, *([adaptation] if adaptation else [])],
        licence=checkpoint.licence, git_revision=git_revision(Path.cwd()), regions=target.regions,
    ).write(tuning.folder / MODEL_FILE)  # fmt: skip
