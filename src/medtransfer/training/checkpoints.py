"""Save a model as a checkpoint, and rebuild its encoder and its source head from the checkpoint's files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.source_head import NoHead, SourceHead, linear_head
from medtransfer.encoders.weights import load_encoder_weights
from medtransfer.encoders.without_values import without_values
from medtransfer.environment import git_revision
from medtransfer.errors import InputError
from medtransfer.hashing import canonical_json, file_sha256
from medtransfer.records import (
    SOURCE_AUC,
    CheckpointInfo,
    Provenance,
    checkpoint_path,
    head_path,
    in_one_line,
    read_tensors,
    write_tensors,
)
from medtransfer.records.untrusted import check_model_size

ENCODER, HEAD = "encoder.", "head."
UNKNOWN = "its head is of a kind that is not known"
NO_CLASSES = "its pretraining learned no classes"
NONE_KEPT = "none was imported; `medtransfer pretrain --force` keeps the classifier of a weights file that has one"
T = TypeVar("T")


def save_checkpoint(
    folder: Path, model: nn.Module, provenance: Provenance, head: Mapping[str, torch.Tensor] | None = None
) -> CheckpointInfo:  # fmt: skip
    """Write `epoch-NNN.safetensors`, then `epoch-NNN.json`, without which the checkpoint does not exist.

    Args:
        folder: folder of the pretraining.
        model: its children are the parts of the checkpoint; one of them is `encoder`.
        provenance: provenance of the weights.
        head: tensors of an imported classifier, for a file of their own; empty or None without one.
    """
    path = checkpoint_path(folder, provenance.epoch)
    weights = path.with_suffix(".safetensors")
    write_tensors(weights, model.state_dict())
    encoder = model.get_submodule("encoder")
    assert isinstance(encoder, Encoder)
    info = CheckpointInfo(
        **vars(provenance), build=encoder.name, arguments=encoder.arguments, levels=_levels(encoder), multiple=encoder.multiple,
        parts=[name for name, part in model.named_children() if part.state_dict()], weights=_sha256(weights),
        git_revision=git_revision(Path.cwd()),
    )  # fmt: skip
    if head:
        write_tensors(head_path(path, info), dict(head))
        info = replace(info, head=_sha256(head_path(path, info)))
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
    ours = _part(ENCODER, weights)
    _check_digest(path, weights, info.weights)
    encoder = _rebuild(path, info, sum(tensor.numel() for tensor in ours.values()))
    load_encoder_weights(encoder, ours, source=str(weights), mapping="direct")
    return encoder


def load_head(path: Path, info: CheckpointInfo, encoder: Encoder) -> SourceHead | NoHead:
    """Load the source head of a checkpoint.

    Args:
        path: path of the record.
        info: its contents.
        encoder: encoder of the checkpoint, with its weights.

    Raises:
        InputError: a file is missing, broken, or not the one that the record describes.
    """
    if SOURCE_AUC in info.metrics:
        return NoHead("its labels are independent, so that its outputs are no softmax")
    if "head" in info.parts:
        weights = path.with_suffix(".safetensors")
        own = _part(HEAD, weights)
        _check_digest(path, weights, info.weights)
        return linear_head(encoder.levels[-1].channels, own["weight"], own.get("bias")) if "weight" in own else NoHead(UNKNOWN)
    if len(info.parts) > 1:
        return NoHead(NO_CLASSES)
    if not info.head:
        return NoHead("random weights" if info.epoch == 0 else NONE_KEPT)
    file = head_path(path, info)
    tensors = read_tensors(file)
    _check_digest(path, file, info.head)
    return encoder.source_head(tensors)


def load_part(path: Path, info: CheckpointInfo, part: str) -> dict[str, torch.Tensor]:
    """Load the tensors of a part of a checkpoint's model, by their names in the part.

    Args:
        path: path of the record.
        info: its contents.
        part: one of `info.parts`.

    Raises:
        InputError: the weights file is missing, broken, or not the one that the record describes.
    """
    weights = path.with_suffix(".safetensors")
    tensors = _part(f"{part}.", weights)
    _check_digest(path, weights, info.weights)
    return tensors


def _check_digest(path: Path, file: Path, sha256: str) -> None:
    if _sha256(file) != sha256:
        raise InputError(
            f"expected the weights that {path} describes (SHA-256 {sha256[:12]}…) in {file}, but the file differs; "
            "remove both and run `medtransfer pretrain`, which fetches or makes them again"
        )


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
    with without_values():
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


def _part(prefix: str, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a part of the model by their names in it."""
    return {name.removeprefix(prefix): t for name, t in _cached(_tensors, path).items() if name.startswith(prefix)}


@lru_cache(maxsize=1)  # the cells of a checkpoint follow each other
def _tensors(path: Path, inode: int, size: int, modified: int) -> dict[str, torch.Tensor]:
    return read_tensors(path)
