"""Digests of the weights of candidates, without the libraries that load them."""

import json
from pathlib import Path

from medtransfer.encoders.timm_index import published_weights
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256
from medtransfer.pretrain.origins.package import find_installed
from medtransfer.rank.candidates import RANDOM, Candidate
from medtransfer.records import CheckpointInfo


def identify(candidate: Candidate, seed: int) -> str:
    """Return a digest of the candidate's weights.

    Raises:
        InputError: its weights do not exist.
    """
    if candidate.sources:
        return digest([identify(source, seed) for source in candidate.sources])
    if candidate.kind == RANDOM:
        return digest([candidate.architectures, seed, *([file_sha256(Path(candidate.file))] if candidate.file else [])])
    if candidate.kind == "checkpoint":
        return CheckpointInfo.read(Path(candidate.file)).weights
    return file_sha256(Path(candidate.file) if candidate.file else published_file(candidate))


def head_digest(candidate: Candidate) -> str:
    """Return the digest of a head that is stored apart from the candidate's weights; empty without such a file."""
    return CheckpointInfo.read(Path(candidate.file)).head if candidate.kind == "checkpoint" else ""


def timm_name(candidate: Candidate) -> str:
    """Return timm's name of the candidate."""
    name: str = json.loads(candidate.architectures[0][1])["name"]
    return name


def published_file(candidate: Candidate) -> Path:
    """Return the file of published weights: of timm's cache, or of an installed package."""
    name = timm_name(candidate)
    try:
        return published_weights(name)
    except InputError:
        if file := find_installed(name):
            return file
        raise
