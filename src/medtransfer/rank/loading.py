"""Build the encoder of a candidate and load its weights, which must fit completely, and its source head if it has one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.channels import adapt_input, describe_adaptation
from medtransfer.encoders.contract import RGB_CHANNELS, Encoder
from medtransfer.encoders.fused import fuse
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.source_head import NoHead, SourceHead, head_tensors
from medtransfer.encoders.weights import LoadAudit, load_encoder_weights
from medtransfer.encoders.weights_file import read_weights
from medtransfer.errors import InputError
from medtransfer.pretrain.origins.package import find_installed, read_installed
from medtransfer.pretrain.recipe import input_contract
from medtransfer.rank.candidates import RANDOM, Candidate
from medtransfer.rank.identity import published_file, timm_name
from medtransfer.records import CheckpointInfo
from medtransfer.training.checkpoints import load_encoder, load_head


@dataclass(frozen=True)
class Loaded:
    """An encoder with the weights of a candidate.

    Attributes:
        encoder: the encoder.
        contract: input contract of the weights.
        audit: how they were loaded, one sentence.
        source_accuracy: validation accuracy on the source, or AUC, None if unknown.
        source_metric: which of them it is, `accuracy` or `AUC`.
        source: name of the source of our own checkpoints; empty for others.
        head: source head, or why there is none.
    """

    encoder: Encoder
    contract: dict[str, Any]
    audit: str
    source_accuracy: float | None = None
    source: str = ""
    source_metric: str = "accuracy"
    head: SourceHead | NoHead = NoHead("it was not asked for")


def load(
    candidate: Candidate, seed: int, size: int, pickle: bool, channels: int = RGB_CHANNELS, with_head: bool = False
) -> Loaded:  # fmt: skip
    """Build a candidate's encoder with its weights, adapted to the channels of the images.

    Args:
        candidate: the candidate.
        seed: seed of random weights.
        size: side in pixels that the weights are taken to be trained with where nothing says it.
        pickle: whether a weights file may be a pickle.
        channels: channels of the images that it gets.
        with_head: whether to load the source head, too.

    Raises:
        InputError: the weights do not exist, are broken, or do not fit any of the candidate's architectures completely, or
            the encoder takes no other than colour images.
    """
    loaded = _load(candidate, seed, size, pickle, with_head)
    adaptation = describe_adaptation(loaded.encoder.arguments, channels)
    if not adaptation:
        return loaded
    return replace(loaded, encoder=adapt_input(loaded.encoder, channels), audit=f"{loaded.audit}; {adaptation}")


def _load(candidate: Candidate, seed: int, size: int, pickle: bool, with_head: bool) -> Loaded:
    if candidate.sources:
        return _load_fusion([_load(source, seed, size, pickle, False) for source in candidate.sources])
    if candidate.kind == "checkpoint":
        path = Path(candidate.file)
        info = CheckpointInfo.read(path)
        start = "the random initialisation" if info.is_random else "the weights that it continues from"
        origin = f"epoch {info.epoch} on {info.source}" if info.epoch else start
        encoder = load_encoder(path, info)
        whole, accuracy = f"our checkpoint of {origin}, loaded whole", info.source_accuracy
        loaded = Loaded(encoder, info.input, whole, accuracy, info.source, info.source_metric)
        return replace(loaded, head=load_head(path, info, encoder)) if with_head else loaded
    if candidate.kind == RANDOM:
        number = _fit_file(candidate, seed, pickle)[0] if candidate.file else 0
        encoder = _build(candidate, number, seed)
        loaded = Loaded(encoder, _contract(encoder, size), f"random weights of seed {seed}")
        return replace(loaded, head=NoHead("random weights"))
    if candidate.kind == "timm":
        loaded, tensors, audit = _load_published(candidate, seed, size)
    else:
        loaded, tensors, audit = _load_file(candidate, seed, size, pickle)
    if not with_head:
        return loaded
    head = loaded.encoder.source_head(head_tensors(loaded.encoder, tensors, audit))
    kept = f"its classifier of {head.classes} classes is read as a softmax" if isinstance(head, SourceHead) else head.reason
    return replace(loaded, head=head, audit=f"{loaded.audit}; {kept}")


def _load_fusion(sources: Sequence[Loaded]) -> Loaded:
    encoder = fuse([(loaded.encoder, loaded.contract) for loaded in sources])
    largest = max(loaded.contract["size"] for loaded in sources)
    audit = f"fusion of {len(sources)} encoders: {'; '.join(loaded.audit for loaded in sources)}"
    return Loaded(encoder, _contract(encoder, largest), audit, head=NoHead("a fusion of several encoders"))


def _build(candidate: Candidate, number: int, seed: int) -> Encoder:
    """Build one of the candidate's architectures with random weights."""
    build, arguments = candidate.architectures[number]
    encoder = build_encoder(build, **{**json.loads(arguments), **({"pretrained": False} if build == "timm" else {})})
    initialise(encoder, seed)
    return encoder


def _contract(encoder: Encoder, size: int) -> dict[str, Any]:
    return input_contract(encoder.input_size or size, encoder.mean, encoder.std)


Filled = tuple[Loaded, Mapping[str, Tensor], LoadAudit]


def _load_published(candidate: Candidate, seed: int, size: int) -> Filled:
    """Load published weights; also return the tensors of their file."""
    file, encoder = published_file(candidate), _build(candidate, 0, seed)
    if file == find_installed(timm_name(candidate)):
        tensors, contract = read_installed(encoder, file)
        audit = _fill(encoder, tensors, file, "direct")
    else:
        tensors, contract = read_weights(file), _contract(encoder, size)
        audit = _fill(encoder, tensors, file)
    return Loaded(encoder, contract, str(audit)), tensors, audit


def _load_file(candidate: Candidate, seed: int, size: int, pickle: bool) -> Filled:
    """Load a weights file into the first architecture that it fits completely; also return its tensors."""
    _, encoder, audit = _fit_file(candidate, seed, pickle)
    tensors = read_weights(Path(candidate.file), allow_pickle=pickle)
    return Loaded(encoder, _contract(encoder, size), str(audit)), tensors, audit


def _fit_file(candidate: Candidate, seed: int, pickle: bool) -> tuple[int, Encoder, LoadAudit]:
    """Return the index of the first architecture that the file fits completely, and the loaded encoder."""
    file = Path(candidate.file)
    tensors = read_weights(file, allow_pickle=pickle)
    errors = []
    for number in range(len(candidate.architectures)):
        encoder = _build(candidate, number, seed)
        try:
            audit = _fill(encoder, tensors, file)
        except InputError as error:
            errors.append(str(error))
            continue
        return number, encoder, audit
    raise InputError(errors[-1])


def _fill(encoder: Encoder, tensors: Mapping[str, Tensor], file: Path, mapping: str | None = None) -> LoadAudit:
    return load_encoder_weights(encoder, tensors, source=file.name, mapping=mapping)
