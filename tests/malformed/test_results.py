"""Broken results are refused by the commands that read them: metrics.json, stored distances and the store.

What `report` finds on disk and cannot use it leaves out with a warning, as it does what another process is still writing.
"""

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
from tests.malformed.damage import DAMAGES, DELETED, OBJECTS, Canary, Row, befallen, field, fields, npy, saved, text

from medtransfer.cli import main

pytestmark = pytest.mark.long

METRICS = "models/heart/unet-simple/e001-full-s7/metrics.json"
SCORES = "scores/heart/unet-simple/epoch-001.json"
ANY = ("empty", "half", "zeros", "noise", "text", "Latin-1", "folder", "loop", "pipe", "unreadable")


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


LONE = npy("(1, 9)", "<f4", bytes(36))
FIELDS: dict[str, list[Any]] = {
    "metrics": [{"dice": 1.5}, DELETED, {"jaccard": 0.5}, {"dice": "0.9"}],
    "curves": [[1, 2]],
    "seconds": ["long"],
}
METRICS_ROWS: list[Row] = [
    *befallen(METRICS, (name for name in ANY if name != "loop")),
    *fields(METRICS, FIELDS),
    ("metrics.json: a format of the future", METRICS, field("format", "medtransfer/result/9"), "metrics.json", "result/9"),
    ("metrics.json: an unknown task", METRICS, field("task", "translation"), "metrics.json", "translation"),
    ("metrics.json: another primary metric", METRICS, field("primary", "jaccard"), "metrics.json", "jaccard"),
    ("metrics.json: NaN for Dice", METRICS, field("metrics", {"dice": float("nan")}), "metrics.json", "NaN"),
    ("metrics.json: nested 100,000 times", METRICS, b"[" * 100_000, "metrics.json"),
    ("metrics.json: a key twice", METRICS, text(lambda old: old.replace('"key"', '"key": "a", "key"')), "metrics.json", "twice"),
]  # fmt: skip
DISTANCE_ROWS: list[Row] = [
    *((f"distances: {name}", name, "epoch-001.npz") for name in (*ANY[:5], "missing", "folder", "pipe")),
    ("distances: a pickle", pickle.dumps(Canary()), "epoch-001.npz"),
    ("distances: objects", member("robustness/pos/cosine/-9/flat.npy", saved(OBJECTS)), "epoch-001.npz"),
    ("distances: a lone array", LONE, "epoch-001.npz"),
    ("distances: a member that claims 4 TB", member("robustness/pos/cosine/-9/flat.npy", npy("(1048576, 1048576)", "<f4")),
     "epoch-001.npz"),
    ("distances: a list that claims 4 GB", claimed, "epoch-001.npz"),
    ("distances: a member outside", member("../../etc/passwd", b"root"), "epoch-001.npz"),
    ("distances: a name of another form", member("robustness/cosine.npy", LONE), "epoch-001.npz"),
    ("distances: a level that is a word", member("robustness/pos/cosine/last/flat.npy", LONE), "epoch-001.npz"),
    ("distances: one side only", member("robustness/pos/cosine/-9/flat.npy", LONE), "epoch-001.npz", "both"),
    ("distances: NaN", every(lambda values: values * np.float32(np.nan)), "epoch-001.npz", "finite"),
    ("distances: whole numbers", every(lambda values: values.astype(np.int32)), "epoch-001.npz"),
    ("distances: fewer images", every(lambda values: values[..., :-1]), "epoch-001.npz", "images"),
    ("distances: no images", arrays(lambda found: found.pop("images")), "epoch-001.npz"),
    ("distances: images that are no JSON", arrays(lambda found: found.update(images=np.frombuffer(b"[", np.uint8))),
     "epoch-001.npz"),
    ("distances: no distances", arrays(lambda found: [found.pop(name) for name in list(found) if name != "images"]),
     "epoch-001.npz"),
]  # fmt: skip
ROWS = METRICS_ROWS + DISTANCE_ROWS


@pytest.mark.parametrize("row", METRICS_ROWS, ids=lambda row: row[0])
def test_fine_tuning_is_refused(row: Row, refused: Callable[..., str]) -> None:
    refused("finetune --seed 7", *row[1:])


@pytest.mark.parametrize("row", DISTANCE_ROWS, ids=lambda row: row[0])
def test_a_search_is_refused(row: Row, refused: Callable[..., str], place: Path) -> None:
    (artifact,) = (place / "mlartifacts" / "score").glob("*/artifacts/scores/epoch-001.npz")
    refused("search", str(artifact.relative_to(place)), *row[1:])
    assert not (place / "canary").exists()


LEFT_OUT: dict[str, Callable[[Path], object]] = {
    "empty": DAMAGES["empty"],
    "nested": lambda path: path.write_bytes(b"[" * 100_000),
    "rows of others": field("rows", [{"what": 1}]),
    "a path for a target": field("target", "../../etc"),
    "a pipe": DAMAGES["pipe"],
}


@pytest.mark.parametrize("damage", LEFT_OUT)
def test_a_report_leaves_scores_out(damage: str, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    LEFT_OUT[damage](place / SCORES)
    monkeypatch.setattr(sys, "argv", ["medtransfer", "report"])
    with caplog.at_level(logging.WARNING, "medtransfer"):
        main()
    assert any("1 folder of scores on disk cannot be read" in line and "epoch-001.json" in line for line in caplog.messages)


def test_a_store_that_is_no_database_is_refused(place: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'other.db'}")  # one that this process has not opened before
    refused("report", "other.db", "noise", "other.db")


def test_the_store_can_be_opened(place: Path) -> None:
    with closing(sqlite3.connect(place / "mlflow.db")) as store:
        assert store.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone()[0] >= 4
