"""A classifier goes in as a checkpoint pair on disk; an encoder comes back from the pair alone."""

from pathlib import Path

import torch
from torch import nn

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.weights import load_encoder_weights
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.records import CheckpointInfo, checkpoint_path, in_one_line, list_checkpoints, read_tensors, write_tensors
from medtransfer.records.untrusted import check_model_size

ENCODER, HEAD = "encoder.", "head."


def save_checkpoint(folder: Path, classifier: nn.Module, info: dict[str, object]) -> CheckpointInfo:
    """Write `epoch-NNN.safetensors`, then the JSON beside it, which makes the checkpoint count.

    Args:
        folder: of the pretraining.
        classifier: has the parts `encoder` and `head`.
        info: every field of CheckpointInfo but `weights`.
    """
    epoch = info["epoch"]
    assert isinstance(epoch, int)
    path = checkpoint_path(folder, epoch)
    weights = path.with_suffix(".safetensors")
    write_tensors(weights, classifier.state_dict())
    record = CheckpointInfo(**info, weights=file_sha256(weights))  # type: ignore[arg-type]
    record.write(path)
    return record


def find_checkpoint(folder: Path, epoch: int) -> tuple[Path, CheckpointInfo]:
    """Give one checkpoint of a pretraining.

    Raises:
        InputError: there is none of that epoch; those that are there are named.
    """
    known = list_checkpoints(folder)
    if epoch not in known:
        names = ", ".join(map(str, sorted(known)))
        raise InputError(f"expected a checkpoint of epoch {epoch} in {folder}, but it holds the epochs {names}; name one of them")
    return checkpoint_path(folder, epoch), known[epoch]


def load_encoder(path: Path, info: CheckpointInfo) -> Encoder:
    """Rebuild the encoder of a checkpoint and load its weights, audited.

    Args:
        path: the JSON half.
        info: what it says.

    Raises:
        InputError: the weights file is missing, broken, not the one that the JSON describes, or does not fit.
    """
    weights = path.with_suffix(".safetensors")
    tensors = read_tensors(weights)
    encoder_tensors = {name.removeprefix(ENCODER): value for name, value in tensors.items() if name.startswith(ENCODER)}
    if file_sha256(weights) != info.weights:
        raise InputError(
            f"expected the weights that {path} describes (SHA-256 {info.weights[:12]}…) in {weights}, but the file differs; "
            "remove both and run `medtransfer pretrain`, which fetches or makes them again"
        )
    encoder = rebuild_encoder(path, info, sum(value.numel() for value in encoder_tensors.values()))
    load_encoder_weights(encoder, encoder_tensors, source=str(weights))
    return encoder


def rebuild_encoder(path: Path, info: CheckpointInfo, numbers: int) -> Encoder:
    """Build the encoder that a checkpoint's record describes, in memory only when it is not far larger than its weights.

    Args:
        path: of the record.
        info: what it says.
        numbers: in the weights file.

    Raises:
        InputError: the record names no encoder that there is, or a larger one.
    """
    try:
        with torch.device("meta"):
            shell = build_encoder(info.build, **info.arguments)
        check_model_size(sum(value.numel() for value in shell.state_dict().values()), numbers)
        return build_encoder(info.build, **info.arguments)
    except (InputError, RuntimeError, TypeError, OverflowError, ValueError) as fault:
        raise InputError(
            f"expected {path} to describe the encoder of the weights beside it, but it does not ({in_one_line(fault)}); get both "
            "files again, or make them with `medtransfer pretrain`"
        ) from None
