"""What the fork server imports ends with the command that wanted it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

SOURCES = Path(__file__).parents[2] / "src"
SERVER = """
open("begun", "w").close()
import medtransfer.grid.preload
print("imported", flush=True)
"""
COMMAND = """
import os, subprocess, sys, time
server = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
while not os.path.exists("begun"):
    time.sleep(0.01)
time.sleep(0.5)
"""


def test_a_working_folder_that_is_gone_ends_no_imports(tmp_path: Path) -> None:
    """Else the next command of the same process, in another folder, would find its fork server dead."""
    (tmp_path / "gone").mkdir()
    code = "import os, shutil; shutil.rmtree(os.getcwd()); import medtransfer.grid.preload; print('imported')"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path / "gone", capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )  # fmt: skip
    assert done.stdout == "imported\n"


@pytest.mark.parametrize(("ending", "said"), [("server.wait()", "imported\n"), ("", "")])
def test_imports_end_with_the_command_that_started_them(ending: str, said: str, tmp_path: Path) -> None:
    """Else a refused command, whose output somebody reads to its end, would seem to last until all is imported."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMMAND + ending, SERVER], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )  # fmt: skip
    assert done.stdout == said, done.stderr
