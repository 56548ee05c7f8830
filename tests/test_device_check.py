"""`make gpu-check` runs everywhere, smaller on a CPU, and finds no wrong result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ON_A_CPU = {  # without a number there
    "tf32 against float32", "reproducible algorithms over the fastest ones", "compiled against uncompiled steps",
}  # fmt: skip


@pytest.mark.slow
def test_the_check_of_a_device_runs_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu-check.json"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "benchmarks/gpu.py", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert {row["check"] for row in rows if row["value"] is None} == ON_A_CPU
    right = [row for row in rows if row["correctness"]]
    assert len(right) == 6 and all(row["holds"] for row in right)
    assert all(row["value"] > 0 for row in rows if "speed" in row["check"] or "time" in row["check"])
    assert "wrong: nothing" in done.stdout and done.stdout.splitlines()[-1].startswith("ratio: ")
