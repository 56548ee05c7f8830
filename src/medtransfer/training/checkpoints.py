"""Save a model as a checkpoint, and rebuild its encoder from the checkpoint's two files."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.weights import load_encoder_weights
from medtransfer.environment import git_revision
from medtransfer.errors import InputError
from medtransfer.hashing import canonical_json, file_sha256
from medtransfer.records import (
    CheckpointInfo,
    Provenance,
    checkpoint_path,
    in_one_line,
    read_tensors,
    write_tensors,
)
from medtransfer.records.untrusted import check_model_size

ENCODER = "encoder."
T = TypeVar("T")


def save_checkpoint(folder: Path, model: nn.Module, provenance: Provenance) -> CheckpointInfo:
    """Write `epoch-NNN.safetensors`, then `epoch-NNN.json`, without which the checkpoint does not exist.

    Args:
        folder: folder of the pretraining.
        model: its children are the parts of the checkpoint; one of them is `encoder`.
        provenance: provenance of the weights.
    """
    path = checkpoint_path(folder, provenance.epoch)
    weights = path.with_suffix(".safetensors")
    write_tensors(weights, model.state_dict())
    encoder = model.get_submodule("encoder")
    assert isinstance(encoder, Encoder)
    info = CheckpointInfo(
        **vars(provenance), build=encoder.name, arguments=encoder.arguments, levels=_levels(encoder), multiple=encoder.multiple,
        parts=[name for name, _ in model.named_children()], weights=_sha256(weights), git_revision=git_revision(Path.cwd()),
    )  # fmt: skip
    info.write(path)
    return info


def load_encoder(path: Path, info: CheckpointInfo) -> Encoder:
    """Rebuild the encoder of a checkpoint and load its weights.

    Args:
        path: path of the record.
        info: its contents.

    Raises:
        InputError: the weights file is missing, broken, not the one that the record describes, or does not fit.
    """
    weights = path.with_suffix(".safetensors")
    ours = _cached(_encoder_tensors, weights)
    if _sha256(weights) != info.weights:
        raise InputError(
            f"expected the weights that {path} describes (SHA-256 {info.weights[:12]}…) in {weights}, but the file differs; "
            "remove both and run `medtransfer pretrain`, which fetches or makes them again"
        )
    encoder = _rebuild(path, info, sum(tensor.numel() for tensor in ours.values()))
    load_encoder_weights(encoder, ours, source=str(weights), mapping="direct")
    return encoder


def _rebuild(path: Path, info: CheckpointInfo, numbers: int) -> Encoder:
    """Build the encoder that a record describes, unless it is far larger than the `numbers` values of its weights file."""
    try:
        check_model_size(_count_numbers(info.build, canonical_json(info.arguments)), numbers)
        encoder = build_encoder(info.build, **info.arguments)
        if (_levels(encoder), encoder.multiple) != (info.levels, info.multiple):
            raise InputError(
                f"it says levels {info.levels} and sides that are multiples of {info.multiple}, but these arguments make "
                f"{_levels(encoder)} and {encoder.multiple}"
            )
        return encoder
    except (InputError, RuntimeError, TypeError, OverflowError, ValueError) as error:
        raise InputError(
            f"expected {path} to describe the encoder of the weights beside it, but it does not ({in_one_line(error)}); get both "
            "files again, or make them with `medtransfer pretrain`"
        ) from None


def _levels(encoder: Encoder) -> list[list[int]]:
    return [[level.stride, level.channels] for level in encoder.levels]


@lru_cache
def _count_numbers(build: str, arguments: str) -> int:
    """Return the number of values in the state of an encoder, without allocating memory for them."""
    with torch.device("meta"):
        shell = build_encoder(build, **json.loads(arguments))
    return sum(tensor.numel() for tensor in shell.state_dict().values())


def _sha256(path: Path) -> str:
    return _cached(_sha256_of, path)


def _cached(function: Callable[..., T], path: Path) -> T:
    """Call a cached function of a file; a file that has not changed since is not read again."""
    try:
        status = path.stat()
    except OSError:
        return function(path, 0, 0, 0)  # which says what is wrong with it
    return function(path.resolve(), status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256_of(path: Path, inode: int, size: int, modified: int) -> str:
    return file_sha256(path)


@lru_cache(maxsize=1)  # the cells of a checkpoint follow each other
def _encoder_tensors(path: Path, inode: int, size: int, modified: int) -> dict[str, torch.Tensor]:
    return {name.removeprefix(ENCODER): t for name, t in read_tensors(path).items() if name.startswith(ENCODER)}
