"""Broken checkpoints: `finetune` and `score` refuse them in one sentence that names the file, and execute no pickle."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.malformed.damage import DELETED, Canary, Row, befallen, field, fields, text

from medtransfer.hashing import file_sha256

pytestmark = pytest.mark.long

FOLDER = "checkpoints/unet-simple"
RECORD, WEIGHTS = f"{FOLDER}/epoch-001.json", f"{FOLDER}/epoch-001.safetensors"


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    """Change the weights, and the digest in the record with them."""

    def apply(path: Path) -> None:
        found = load_file(path)
        change(found)
        save_file(found, path)
        signed(path)

    return apply


def raw(content: bytes) -> Callable[[Path], object]:
    """Replace the weights by other bytes, whose digest is in the record."""

    def apply(path: Path) -> None:
        path.write_bytes(content)
        signed(path)

    return apply


def signed(path: Path) -> None:
    field("weights", file_sha256(path))(path.with_suffix(".json"))


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def pickled(path: Path) -> None:
    torch.save({"encoder.stem": Canary()}, path)
    signed(path)


def spoil_one(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda found: found["encoder.stem.0.weight"].view(-1)[0].fill_(value)


def renamed(path: Path) -> None:
    for suffix in (".json", ".safetensors"):
        path.with_suffix(suffix).rename(path.with_name(f"epoch-007{suffix}"))


HUGE = {"encoder.stem.0.weight": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
NEGATIVE = {"encoder.stem.0.weight": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}
OVERLAPPING = {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("encoder.a", "encoder.b")}
CONTRACT = {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"}
ANY = ("empty", "half", "zeros", "noise", "text", "folder", "pipe", "unreadable")
# What a field of the record must not hold.
FIELDS: dict[str, list[Any]] = {
    "encoder": [DELETED],
    "build": ["../../etc"],
    "levels": [[[1, 4], [2, 8], [4, 16]], [[1]]],
    "multiple": [0],
    "parts": ["encoder"],
    "loaded": [{"matched": 5, "total": 4}],
    "arguments": [[4, 4]],
    "epoch": [-1, "1", True],
    "metrics": [{"source_accuracy": 1.5}],
    "input": [{}],
}
ARGUMENTS = ({"width": -4, "depth": 4}, {"width": "4", "depth": 4}, {"width": 10**9, "depth": 4})
INPUTS = (
    {"mean": [10**400, 0.5, 0.5]},
    {"mean": ["a", "b", "c"]},
    {"std": [0.5, 0.5]},
    {"std": [0, 1, 1]},
    {"std": [1, 1, 1e-320]},
)
FORMAT_ROWS: list[Row] = [
    ("record: a list", RECORD, b"[1, 2]", "epoch-001.json"),
    ("record: nested 100,000 times", RECORD, b"[" * 100_000, "epoch-001.json"),
    ("record: a byte order mark", RECORD, lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()), "epoch-001.json"),
    ("record: a key twice", RECORD, text(lambda old: old.replace('"epoch"', '"epoch": 7, "epoch"')), "epoch-001.json", "twice"),
    ("record: an older format", RECORD, field("format", "medtransfer/checkpoint/1"), "epoch-001.json", "older version"),
    ("record: a format of the future", RECORD, field("format", "medtransfer/checkpoint/3"), "epoch-001.json", "newer version"),
    ("record: another kind", RECORD, field("format", "medtransfer/scores/1"), "epoch-001.json", "scores/1"),
    ("record: no format", RECORD, field("format", DELETED), "epoch-001.json", "None"),
]  # fmt: skip
ROWS: list[Row] = [
    *FORMAT_ROWS,
    *befallen(RECORD, (*ANY, "Latin-1")),
    *befallen(WEIGHTS, (*ANY, "missing", "head", "last byte", "spoilt", "loop")),
    *fields(RECORD, FIELDS),
    *((f"record: {one}", RECORD, field("arguments", one), "epoch-001.json", "width") for one in ARGUMENTS),
    *((f"record: {one}"[:40], RECORD, field("input", {**CONTRACT, **one}), "epoch-001.json", *one) for one in INPUTS),
    ("record: loop", RECORD, "loop", "unet-simple", "epoch-001.json", "a link that leads nowhere"),
    ("record: missing", RECORD, "missing", "unet-simple", "1"),
    ("record: an unknown encoder", RECORD, field("build", "vgg"), "epoch-001.json", "vgg"),
    ("record: another encoder", RECORD, field("build", "resnet50"), "epoch-001.json"),
    ("record: an unknown argument", RECORD, field("arguments", {"width": 4, "deep": 4}), "epoch-001.json", "deep"),
    ("record: 10 ** 9 levels", RECORD, field("arguments", {"width": 4, "depth": 10**9}), "epoch-001.json", "depth"),
    ("record: 10,000 levels", RECORD, field("arguments", {"width": 4, "depth": 10_000}), "epoch-001.json"),
    ("record: 10,000 channels", RECORD, field("arguments", {"width": 10_000, "depth": 4}), "epoch-001.json", "numbers"),
    ("record: wider than its weights", RECORD, field("arguments", {"width": 8, "depth": 4}), "epoch-001.json", "levels"),
    ("record: another epoch", RECORD, field("epoch", 7), "epoch-001.json", "7"),
    ("record: NaN", RECORD, field("metrics", {"source_accuracy": float("nan")}), "epoch-001.json", "NaN"),
    ("record: infinity", RECORD, field("metrics", {"source_accuracy": float("inf")}), "epoch-001.json", "Infinity"),
    ("record: 10 ** 8 blocks in a list", RECORD,
     lambda path: (field("build", "swin")(path), field("arguments", {"depths": [1, 1, 1, 10**8]})(path)), "epoch-001.json",
     "depths"),
    ("record: weights of another digest", RECORD, field("weights", "0" * 64), "epoch-001.safetensors", "SHA-256"),
    ("weights: an archive of PyTorch", WEIGHTS, pickled, "epoch-001.safetensors"),
    ("weights: a header of 99 MB", WEIGHTS, raw(struct.pack("<Q", 99_000_000) + b"{}"), "epoch-001.safetensors"),
    ("weights: a header that is no JSON", WEIGHTS, raw(safetensors(b"{'a': 1}")), "epoch-001.safetensors"),
    ("weights: a tensor of 2 ** 60 numbers", WEIGHTS, raw(safetensors(HUGE, bytes(16))), "epoch-001.safetensors"),
    ("weights: a negative shape", WEIGHTS, raw(safetensors(NEGATIVE, bytes(16))), "epoch-001.safetensors"),
    ("weights: tensors that overlap", WEIGHTS, raw(safetensors(OVERLAPPING, bytes(16))), "epoch-001.safetensors"),
    ("weights: no tensors", WEIGHTS, raw(safetensors({})), "epoch-001.safetensors"),
    ("weights: NaN", WEIGHTS, tensors(spoil_one(float("nan"))), "epoch-001.safetensors", "NaN"),
    ("weights: infinity", WEIGHTS, tensors(spoil_one(float("inf"))), "epoch-001.safetensors", "infinities"),
    ("weights: a tensor is missing", WEIGHTS, tensors(lambda found: found.pop("encoder.stem.0.weight")), "epoch-001.safetensors"),
    ("weights: a tensor too many", WEIGHTS, tensors(lambda found: found.update({"encoder.x": torch.zeros(3)})),
     "epoch-001.safetensors", "x"),
    ("weights: whole numbers", WEIGHTS, tensors(lambda found: found.update({k: v.int() for k, v in found.items()})), WEIGHTS[-21:]),
    *befallen(FOLDER, ("folder", "missing", "loop")),
    ("the folder is a file", FOLDER, lambda path: path.rename("kept") and path.write_bytes(b""), "unet-simple"),
]  # fmt: skip
# `score` takes whatever epochs exist, and reads the weights one after the other.
SCORE_ROWS = [*befallen(RECORD, ANY), *FORMAT_ROWS, ("both: another name", RECORD, renamed, "epoch-007.json", "1")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_fine_tuning_is_refused(row: Row, refused: Callable[..., str], place: Path) -> None:
    refused("finetune --seed 99", *row[1:])
    assert not (place / "canary").exists()


@pytest.mark.parametrize("row", SCORE_ROWS, ids=lambda row: row[0])
def test_scoring_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("score --seed 99", *row[1:])
