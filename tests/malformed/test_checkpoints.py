"""Broken checkpoints go into `finetune` and `score`; one sentence that names the file comes out, and no pickle is executed."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from medtransfer.hashing import file_sha256

FOLDER = "checkpoints/unet-simple"
RECORD, WEIGHTS = f"{FOLDER}/epoch-001.json", f"{FOLDER}/epoch-001.safetensors"
DELETED = object()


def field(name: str, value: Any) -> Callable[[Path], object]:
    """Change one field of the record; NaN and infinity are written as Python writes them."""

    def change(path: Path) -> None:
        record = json.loads(path.read_text())
        record[name] = value
        path.write_text(json.dumps({key: one for key, one in record.items() if one is not DELETED}))

    return change


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
    class Canary:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return open, ("canary", "w")  # type: ignore[return-value]

    torch.save({"encoder.stem": Canary()}, path)
    signed(path)


def spoil_one(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(found: dict[str, torch.Tensor]) -> None:
        next(one for name, one in sorted(found.items()) if name.startswith("encoder.") and one.is_floating_point()).view(-1)[0] = (
            value
        )

    return change


def renamed(path: Path) -> None:
    for suffix in (".json", ".safetensors"):
        path.with_suffix(suffix).rename(path.with_name(f"epoch-007{suffix}"))


HUGE = {"encoder.stem.0.weight": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
NEGATIVE = {"encoder.stem.0.weight": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}
OVERLAPPING = {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("encoder.a", "encoder.b")}
CONTRACT = {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"}
ROWS: list[tuple[Any, ...]] = [
    *((f"record: {name}", RECORD, name, "epoch-001.json") for name in
      ("empty", "half", "zeros", "noise", "text", "Latin-1", "folder", "pipe", "unreadable")),
    ("record: loop", RECORD, "loop", "unet-simple", "epoch 1"),
    *((f"weights: {name}", WEIGHTS, name, "epoch-001.safetensors") for name in
      ("missing", "empty", "half", "head", "last byte", "spoilt", "zeros", "noise", "text", "folder", "loop", "pipe",
       "unreadable")),
    ("record: missing", RECORD, "missing", "unet-simple", "1"),
    ("record: a list", RECORD, b"[1, 2]", "epoch-001.json"),
    ("record: nested 100,000 times", RECORD, b"[" * 100_000, "epoch-001.json"),
    ("record: a byte order mark", RECORD, lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()), "epoch-001.json"),
    ("record: a key twice", RECORD, lambda path: path.write_text(path.read_text().replace('"epoch"', '"epoch": 7, "epoch"')),
     "epoch-001.json", "twice"),
    ("record: an older format", RECORD, field("format", "medtransfer/checkpoint/1"), "epoch-001.json", "older version"),
    ("record: a format of the future", RECORD, field("format", "medtransfer/checkpoint/3"), "epoch-001.json", "newer version"),
    ("record: another kind", RECORD, field("format", "medtransfer/scores/1"), "epoch-001.json", "scores/1"),
    ("record: no format", RECORD, field("format", DELETED), "epoch-001.json", "None"),
    ("record: no encoder", RECORD, field("encoder", DELETED), "epoch-001.json", "encoder"),
    ("record: an unknown encoder", RECORD, field("build", "vgg"), "epoch-001.json", "vgg"),
    ("record: a path for an encoder", RECORD, field("build", "../../etc"), "epoch-001.json", "build"),
    ("record: another encoder", RECORD, field("build", "resnet50"), "epoch-001.json"),
    ("record: other levels", RECORD, field("levels", [[1, 4], [2, 8], [4, 16]]), "epoch-001.json", "levels"),
    ("record: a level without channels", RECORD, field("levels", [[1]]), "epoch-001.json", "levels"),
    ("record: sides that are multiples of 0", RECORD, field("multiple", 0), "epoch-001.json", "multiple"),
    ("record: parts that are a text", RECORD, field("parts", "encoder"), "epoch-001.json", "parts"),
    ("record: more was loaded than there is", RECORD, field("loaded", {"matched": 5, "total": 4}), "epoch-001.json", "loaded"),
    ("record: an unknown argument", RECORD, field("arguments", {"width": 4, "deep": 4}), "epoch-001.json", "deep"),
    ("record: a negative argument", RECORD, field("arguments", {"width": -4, "depth": 4}), "epoch-001.json", "width"),
    ("record: a text for an argument", RECORD, field("arguments", {"width": "4", "depth": 4}), "epoch-001.json", "width"),
    ("record: 10 ** 9 levels", RECORD, field("arguments", {"width": 4, "depth": 10**9}), "epoch-001.json", "depth"),
    ("record: 10,000 levels", RECORD, field("arguments", {"width": 4, "depth": 10_000}), "epoch-001.json"),
    ("record: 10 ** 9 channels", RECORD, field("arguments", {"width": 10**9, "depth": 4}), "epoch-001.json", "width"),
    ("record: 10,000 channels", RECORD, field("arguments", {"width": 10_000, "depth": 4}), "epoch-001.json", "numbers"),
    ("record: wider than its weights", RECORD, field("arguments", {"width": 8, "depth": 4}), "epoch-001.json", "levels"),
    ("record: arguments are a list", RECORD, field("arguments", [4, 4]), "epoch-001.json", "arguments"),
    ("record: another epoch", RECORD, field("epoch", 7), "epoch-001.json", "7"),
    ("record: a negative epoch", RECORD, field("epoch", -1), "epoch-001.json", "epoch"),
    ("record: a text for an epoch", RECORD, field("epoch", "1"), "epoch-001.json", "epoch"),
    ("record: a truth value for an epoch", RECORD, field("epoch", True), "epoch-001.json", "epoch"),
    ("record: NaN", RECORD, field("metrics", {"source_accuracy": float("nan")}), "epoch-001.json", "NaN"),
    ("record: infinity", RECORD, field("metrics", {"source_accuracy": float("inf")}), "epoch-001.json", "Infinity"),
    ("record: more than all are right", RECORD, field("metrics", {"source_accuracy": 1.5}), "epoch-001.json", "metrics"),
    ("record: no contract", RECORD, field("input", {}), "epoch-001.json", "input", "mean"),
    ("record: a mean of two channels", RECORD, field("input", {**CONTRACT, "mean": [0.5, 0.5]}), "epoch-001.json", "mean"),
    ("record: a deviation of 0", RECORD, field("input", {**CONTRACT, "std": [0.5, 0.5, 0]}), "epoch-001.json", "std"),
    ("record: a mean of 401 digits", RECORD, field("input", {**CONTRACT, "mean": [10**400, 0.5, 0.5]}), "epoch-001.json", "mean"),
    ("record: next to no deviation", RECORD, field("input", {**CONTRACT, "std": [0.5, 0.5, 1e-320]}), "epoch-001.json", "std"),
    ("record: 10 ** 8 blocks in a list", RECORD,
     lambda path: (field("build", "swin")(path), field("arguments", {"depths": [1, 1, 1, 10**8]})(path)), "epoch-001.json",
     "depths"),
    ("record: a mean of words", RECORD, field("input", {**CONTRACT, "mean": ["a", "b", "c"]}), "epoch-001.json", "mean"),
    ("record: a number of 5,000 digits", RECORD, lambda path: path.write_text('{"epoch": ' + "9" * 5000 + "}"), "epoch-001.json"),
    ("record: weights of another digest", RECORD, field("weights", "0" * 64), "epoch-001.safetensors", "SHA-256"),
    ("weights: an archive of PyTorch", WEIGHTS, pickled, "epoch-001.safetensors"),
    ("weights: a header of 2 ** 63 bytes", WEIGHTS, raw(struct.pack("<Q", 2**63) + b"{}"), "epoch-001.safetensors"),
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
    ("weights: whole numbers", WEIGHTS, tensors(lambda found: found.update({name: one.int() for name, one in found.items()})),
     "epoch-001.safetensors"),
    ("the folder is empty", FOLDER, "folder", "unet-simple"),
    ("the folder is missing", FOLDER, "missing", "unet-simple"),
    ("the folder is a link in a circle", FOLDER, "loop", "unet-simple"),
    ("the folder is a file", FOLDER, lambda path: path.rename("kept") and path.write_bytes(b""), "unet-simple"),
]  # fmt: skip
# `score` takes whatever epochs there are, so an epoch that lacks is no fault to it, and it reads the weights one after the other.
SCORE_ROWS = [
    *(row for row in ROWS if row[1] == RECORD and row[0] not in {"record: missing", "record: loop"} and "encoder" not in row[0])
][:20] + [("both: another name", RECORD, renamed, "epoch-007.json", "1")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_fine_tuning_is_refused(row: tuple[Any, ...], refused: Callable[..., str], place: Path) -> None:
    refused("finetune --seed 99", *row[1:])
    assert not (place / "canary").exists()


@pytest.mark.parametrize("row", SCORE_ROWS, ids=lambda row: row[0])
def test_scoring_is_refused(row: tuple[Any, ...], refused: Callable[..., str]) -> None:
    refused("score --seed 99", *row[1:])
