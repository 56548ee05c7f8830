"""Rows of the tables have unique names, and some of them hold for the real command too."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.malformed.damage import DAMAGES

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
# Command, damage, and part of the message.
COMMANDS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a cut volume": ("prepare", lambda folder: cut(folder / "raw/heart/training/patient001/patient001_frame01.nii.gz"),
    "frame01.nii.gz"),
    "a cut record": ("finetune --seed 99", lambda folder: cut(folder / "checkpoints/unet-simple/epoch-001.json"), "epoch-001.json"),
    "a bomb of aliases": ("report", lambda folder: (folder / "params.yaml").write_text("a: &a [1]\nb: [*a, *a]\n"), "params.yaml"),
}  # fmt: skip


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if "record" in name else ()) for name in COMMANDS])
def test_the_real_command_refuses(name: str, place: Path) -> None:
    arguments, damage, message = COMMANDS[name]
    damage(place)
    done = subprocess.run(
        [sys.executable, "-m", "medtransfer", *arguments.split()], cwd=place, env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    *notes, sentence = done.stderr.splitlines()
    assert ["is made again, since 1 file is changed" in note for note in notes] == [True] * (name == "a cut volume")
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence.startswith("medtransfer: ") and message in sentence


def test_every_damage_is_mended(stock: Any) -> None:
    def content(folder: Path) -> dict[str, tuple[int, bytes]]:
        paths = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes()) for path in paths}

    whole = content(stock.copy)
    for damage in (*DAMAGES.values(), lambda path: path.with_name("more").write_text("more")):
        damage(stock.folder / "split.csv")
        if damage in (DAMAGES["loop"], DAMAGES["unreadable"], DAMAGES["missing"]):
            damage(stock.folder / "raw/mine")
        stock.mend()
        assert content(stock.folder) == whole


def test_names_of_rows_are_unique() -> None:
    tables = {
        path.stem: runpy.run_path(str(path)).get("ROWS", []) for path in sorted(HERE.glob("test_*.py")) if path != Path(__file__)
    }
    for name, rows in tables.items():
        names = [row[0] for row in rows]
        assert [row for row in names if names.count(row) > 1] == [], name
