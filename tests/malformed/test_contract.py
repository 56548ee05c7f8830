"""The tables themselves: that they are long, and that some of their rows hold for the command as its user starts it."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
WANTED = 260
# Command, what is written where, and words of the sentence.
COMMANDS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a cut volume": ("prepare", lambda place: cut(place / "raw/heart/training/patient001/patient001_frame01.nii.gz"),
    "frame01.nii.gz"),
    "a cut record": ("finetune --seed 99", lambda place: cut(place / "checkpoints/unet-simple/epoch-001.json"), "epoch-001.json"),
    "a bomb of aliases": ("report", lambda place: (place / "params.yaml").write_text("a: &a [1]\nb: [*a, *a]\n"), "params.yaml"),
}  # fmt: skip


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_of_its_own_refuses_too(name: str, place: Path) -> None:
    words, damage, said = COMMANDS[name]
    damage(place)
    done = subprocess.run(
        [sys.executable, "-m", "medtransfer", *words.split()], cwd=place, env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    (sentence,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence.startswith("medtransfer: ") and said in sentence


def test_the_tables_are_long_and_name_every_row_once() -> None:
    tables = {
        path.stem: runpy.run_path(str(path)).get("ROWS", []) for path in sorted(HERE.glob("test_*.py")) if path != Path(__file__)
    }
    for name, rows in tables.items():
        names = [row[0] for row in rows]
        assert len(set(names)) == len(names), (name, [one for one in names if names.count(one) > 1])
    print({name: len(rows) for name, rows in tables.items()}, sum(map(len, tables.values())))
    assert sum(map(len, tables.values())) >= WANTED
