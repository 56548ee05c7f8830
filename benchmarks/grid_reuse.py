"""Processor time of `medtransfer grid` on a study whose 20,000 fine-tunings are finished, relative to 10 s.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/grid_reuse.py`. `--sources` names the `src` of another version
to compare with, which is timed alternately. `--command report` times a report of which nothing has changed, relative to 1.5 s. The
study has 10 checkpoints, 2 modes and 1,000 seeds on one target. The fine-tunings
of the first seed are done by the command itself; those of the other seeds are their files and rows with another seed, written
directly. The times are those of all processes of the command, workers included.
"""

import contextlib
import ctypes
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medtransfer.records import Cell
from report_20k import copy_rows
from versions import named, parser

CHECKPOINTS, MODES, SEEDS = 10, 2, 1000
GOALS = {"grid": 10.0, "report": 1.5}  # seconds of processors, by command
PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans become children of this process


def write_params(place: Path, seeds: int) -> None:
    """Write the parameters of the study with some of its seeds."""
    study = {
        "targets": ["sample"], "encoders": ["unet"], "origins": ["simple"], "epochs": "all", "modes": ["full", "decoder"],
        "seeds": list(range(1, seeds + 1)),
    }  # fmt: skip
    values = {
        "study": study, "pretrain": {"epochs": CHECKPOINTS - 1, "checkpoints": list(range(1, CHECKPOINTS)), "size": 32},
        "score": {"max_images": 10, "indicators": ["robustness"]}, "grid": {"workers": 2},
        "finetune": {"train_epochs": 1, "epoch_steps": 1, "overlays": 0, "keep": "metrics"},
    }  # fmt: skip
    (place / "params.yaml").write_text(yaml.safe_dump(values))


def copy_fine_tunings(place: Path, seeds: int) -> int:
    """Write the fine-tunings of the other seeds; return the number of all."""
    with sqlite3.connect(place / "mlflow.db") as store:
        files = sorted((place / "models").rglob("metrics.json"))
        for file in files:
            first = json.loads(file.read_text())
            copies = [_with_seed(first, seed) for seed in range(2, seeds + 1)]
            for copy in copies:
                folder = Cell(**copy["cell"]).folder(place / "models")
                shutil.copytree(file.parent, folder, copy_function=os.link, ignore=shutil.ignore_patterns("metrics.json"))
                (folder / "metrics.json").write_text(json.dumps(copy))
            _insert(store, first["key"], [({"seed": copy["cell"]["seed"], "key": copy["key"]}, {}) for copy in copies])
    return len(files) * seeds


def _with_seed(first: dict[str, Any], seed: int) -> dict[str, Any]:
    cell = {**first["cell"], "seed": seed}
    return {**first, "cell": cell, "key": Cell(**cell).key}


def _insert(store: sqlite3.Connection, cell: str, others: list[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
    """Insert copies of the run of a cell, each with its seed and its key."""
    query = "SELECT run_uuid FROM tags WHERE key = 'medtransfer.cell' AND value = ?"
    (run,) = next(iter(store.execute(query, [cell])))
    for table in ("runs", "tags", "params", "latest_metrics", "metrics"):
        columns = [line[1] for line in store.execute(f"PRAGMA table_info({table})")]
        rows = [dict(zip(columns, row, strict=True)) for row in store.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", [run])]
        copies = list(copy_rows(table, rows, others))
        if table == "tags":  # a copy's own key, where `copy_rows` writes a digest of its params
            key, value = columns.index("key"), columns.index("value")
            keys = [others[number // len(rows)][0]["key"] for number in range(len(copies))]
            for copy, own in zip(copies, keys, strict=True):
                copy[value] = own if copy[key] == "medtransfer.cell" else copy[value]
        store.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", copies)


def wait_for_orphans() -> None:
    """Wait for the processes that outlive the command: workers are children of a server that it does not wait for."""
    with contextlib.suppress(ChildProcessError):  # none is left
        while True:
            os.wait()


def processor_seconds(place: Path, sources: str, command: Sequence[str]) -> float:
    """Run a command and return the processor seconds of all its processes."""
    names = {"MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": sources, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "medtransfer", *command], cwd=place, env=environment, check=True, capture_output=True)
    wait_for_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Make the study, run the command on it, and print the seconds."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=SEEDS)
    options.add_argument("--command", choices=GOALS, default="grid")
    chosen = options.parse_args()
    versions = named(chosen)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_params(place, 1)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        environment |= {"PYTHONPATH": str(Path("src").resolve()), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "medtransfer", "grid"], cwd=place, env=environment, check=True, capture_output=True)
        wait_for_orphans()
        number = copy_fine_tunings(place, chosen.seeds)
        write_params(place, chosen.seeds)
        commands = {name: [chosen.command] for name in versions}
        if chosen.command == "report":  # of which each version makes its own, at first
            commands = {name: ["report", "--out", f"reports-{number}"] for number, name in enumerate(versions)}
            for name, sources in versions.items():
                processor_seconds(place, sources, commands[name])
        times: dict[str, list[float]] = {name: [] for name in versions}
        for _ in range(chosen.runs):
            for name, sources in versions.items():
                times[name].append(processor_seconds(place, sources, commands[name]))
                print(f"{name or 'this version: '}{times[name][-1]:.1f} s of processors", flush=True)
    shown = ", ".join(f"{name}{min(seconds):.1f} s" for name, seconds in times.items())
    goal = GOALS[chosen.command]
    print(f"the {chosen.command} of {number} finished fine-tunings: {shown} of processors; expected within {goal:g} s")
    print(f"ratio: {min(times['']) / goal:.2f}")


if __name__ == "__main__":
    main()
