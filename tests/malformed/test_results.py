"""Broken results are refused by the commands that read them: metrics.json, stored distances and the store.

What `report` finds on disk and cannot use it leaves out with a warning, as it does what another process is still writing.
"""

import io
import json
import logging
import pickle
import sqlite3
import struct
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtransfer.cli import main

METRICS = "models/heart/unet-simple/e001-full-s7/metrics.json"
SCORES = "scores/heart/unet-simple/epoch-001.json"
ANY = ("empty", "half", "zeros", "noise", "text", "Latin-1", "folder", "loop", "pipe", "unreadable")
DELETED = object()


def field(name: str, value: Any) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        record = {**json.loads(path.read_text()), name: value}
        path.write_text(json.dumps({key: one for key, one in record.items() if one is not DELETED}))

    return change


def arrays(change: Callable[[dict[str, Any]], object], **options: Any) -> Callable[[Path], object]:
    """Change the arrays of a .npz."""

    def apply(path: Path) -> None:
        with np.load(path) as file:
            found = dict(file)
        change(found)
        with path.open("wb") as handle:
            np.savez(handle, **options, **found)

    return apply


def every(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    return arrays(lambda found: found.update({name: change(one) for name, one in found.items() if name != "images"}))


def member(name: str, content: bytes, kind: int = zipfile.ZIP_STORED) -> Callable[[Path], object]:
    """Put a file into the archive."""

    def apply(path: Path) -> None:
        with zipfile.ZipFile(path, "a", kind) as archive:
            archive.writestr(name, content)

    return apply


def claimed(path: Path) -> None:
    """Let the archive's list say that a member holds 4 GB."""
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    struct.pack_into("<I", content, place + 24, 2**32 - 2)
    path.write_bytes(content)


def npy(shape: str, data: bytes = b"") -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + data


class Canary:
    """What writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("canary", "w")


def hidden() -> bytes:
    np.save(held := io.BytesIO(), np.array([Canary()], dtype=object), allow_pickle=True)
    return held.getvalue()


METRICS_ROWS: list[tuple[Any, ...]] = [
    *((f"metrics.json: {name}", METRICS, name, "metrics.json") for name in ANY if name != "loop"),
    ("metrics.json: a format of the future", METRICS, field("format", "medtransfer/result/9"), "metrics.json", "result/9"),
    ("metrics.json: a format of the past", METRICS, field("format", "medtransfer/result/1"), "metrics.json", "an older version"),
    ("metrics.json: an unknown task", METRICS, field("task", "translation"), "metrics.json", "translation"),
    ("metrics.json: a Dice above 1", METRICS, field("metrics", {"dice": 1.5}), "metrics.json", "dice"),
    ("metrics.json: another primary metric", METRICS, field("primary", "jaccard"), "metrics.json", "jaccard"),
    ("metrics.json: no metrics", METRICS, field("metrics", DELETED), "metrics.json", "metrics"),
    ("metrics.json: no Dice", METRICS, field("metrics", {"jaccard": 0.5}), "metrics.json", "dice"),
    ("metrics.json: NaN for Dice", METRICS, field("metrics", {"dice": float("nan")}), "metrics.json", "NaN"),
    ("metrics.json: a text for Dice", METRICS, field("metrics", {"dice": "0.9"}), "metrics.json", "dice"),
    ("metrics.json: curves are a list", METRICS, field("curves", [1, 2]), "metrics.json", "curves"),
    ("metrics.json: a text for seconds", METRICS, field("seconds", "long"), "metrics.json", "seconds"),
    ("metrics.json: nested 100,000 times", METRICS, b"[" * 100_000, "metrics.json"),
    ("metrics.json: a key twice", METRICS, lambda path: path.write_text(path.read_text().replace('"key"', '"key": "a", "key"')),
     "metrics.json", "twice"),
]  # fmt: skip
DISTANCE_ROWS: list[tuple[Any, ...]] = [
    *((f"distances: {name}", name, "epoch-001.npz") for name in ("missing", "empty", "half", "zeros", "noise", "text",
           "folder", "pipe")),
    ("distances: a pickle", lambda path: path.write_bytes(pickle.dumps(Canary())), "epoch-001.npz"),
    ("distances: objects", member("robustness/pos/cosine/-9/flat.npy", hidden()), "epoch-001.npz"),
    ("distances: a lone array", lambda path: path.write_bytes(npy("(1, 9)", bytes(36))), "epoch-001.npz"),
    ("distances: a member that claims 4 TB", member("robustness/pos/cosine/-9/flat.npy", npy("(1048576, 1048576)")),
     "epoch-001.npz"),
    ("distances: a list that claims 4 GB", claimed, "epoch-001.npz"),
    ("distances: a member outside", member("../../etc/passwd", b"root"), "epoch-001.npz"),
    ("distances: a name of another form", member("robustness/cosine.npy", npy("(1, 9)", bytes(36))), "epoch-001.npz"),
    ("distances: a level that is a word", member("robustness/pos/cosine/last/flat.npy", npy("(1, 9)", bytes(36))), "epoch-001.npz"),
    ("distances: one side only", member("robustness/pos/cosine/-9/flat.npy", npy("(1, 9)", bytes(36))), "epoch-001.npz", "both"),
    ("distances: NaN", every(lambda values: values * np.float32(np.nan)), "epoch-001.npz", "finite"),
    ("distances: whole numbers", every(lambda values: values.astype(np.int32)), "epoch-001.npz"),
    ("distances: fewer images", every(lambda values: values[:, :-1]), "epoch-001.npz", "images"),
    ("distances: no images", arrays(lambda found: found.pop("images")), "epoch-001.npz"),
    ("distances: images that are no JSON", arrays(lambda found: found.update(images=np.frombuffer(b"[", np.uint8))),
     "epoch-001.npz"),
    ("distances: no distances", arrays(lambda found: [found.pop(name) for name in list(found) if name != "images"]),
     "epoch-001.npz"),
]  # fmt: skip
ROWS = METRICS_ROWS + DISTANCE_ROWS


@pytest.mark.parametrize("row", METRICS_ROWS, ids=lambda row: row[0])
def test_fine_tuning_is_refused(row: tuple[Any, ...], refused: Callable[..., str]) -> None:
    refused("finetune --seed 7", *row[1:])


@pytest.mark.parametrize("row", DISTANCE_ROWS, ids=lambda row: row[0])
def test_a_search_is_refused(row: tuple[Any, ...], refused: Callable[..., str], place: Path) -> None:
    (artifact,) = (place / "mlartifacts" / "score").glob("*/artifacts/scores/epoch-001.npz")
    refused("search", str(artifact.relative_to(place)), *row[1:])
    assert not (place / "canary").exists()


LEFT_OUT: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "nested": lambda path: path.write_bytes(b"[" * 100_000),
    "rows of others": field("rows", [{"what": 1}]),
    "a path for a target": field("target", "../../etc"),
    "a pipe": lambda path: (path.unlink(), __import__("os").mkfifo(path)),
}


@pytest.mark.parametrize("damage", LEFT_OUT)
def test_a_report_leaves_scores_out(damage: str, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    LEFT_OUT[damage](place / SCORES)
    monkeypatch.setattr(sys, "argv", ["medtransfer", "report"])
    with caplog.at_level(logging.WARNING, "medtransfer"):
        main()
    assert any("1 folders of scores on disk are left out" in line and "epoch-001.json" in line for line in caplog.messages)


def test_a_store_that_is_no_database_is_refused(place: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'other.db'}")  # one that this process has not opened before
    refused("report", "other.db", "noise", "other.db")


def test_the_store_can_be_opened(place: Path) -> None:
    with closing(sqlite3.connect(place / "mlflow.db")) as store:
        assert store.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone()[0] >= 4
