"""Processor time of commands that find their result finished, or refuse, relative to 1.5 s and 1 s.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/reuse.py`. `--sources` names the `src` of another version to
compare with, which is timed alternately.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

GOALS = {0: 1.5, 2: 1.0}  # seconds by exit code: reused, refused
TINY = ("--epochs", "1", "--checkpoints", "1", "--size", "32")
REUSED = (
    ("prepare", "--target", "sample"),
    ("pretrain", *TINY),
    ("finetune", "--epoch", "1", "--train-epochs", "1", "--epoch-steps", "1"),
    ("score", "--indicators", "robustness", "--max-images", "20"),
)
REFUSED = tuple((command[0], "--target", "nowhere") for command in REUSED if command[0] != "pretrain") + (
    ("pretrain", "--origin", "nowhere"),
    ("finetune", "--epoch", "7"),
)  # fmt: skip


def processor_seconds(place: str, sources: str, command: tuple[str, ...], expected: int) -> float:
    """Run a command in a process of its own and return its processor seconds."""
    names = {"MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": sources, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "medtransfer", *command], cwd=place, env=environment, capture_output=True)
    if done.returncode != expected:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Make the results, then measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--sources", type=Path, help="the `src` of another version")
    chosen = options.parse_args()
    versions = {"": str(Path("src").resolve())} | ({"other version: ": str(chosen.sources.resolve())} if chosen.sources else {})
    worst = 0.0
    with tempfile.TemporaryDirectory() as place:
        for command in REUSED:
            processor_seconds(place, versions[""], command, 0)
        for code, commands in ((0, REUSED), (2, REFUSED)):
            for command in commands:
                times: dict[str, list[float]] = {name: [] for name in versions}
                for _ in range(chosen.runs):
                    for name, sources in versions.items():
                        times[name].append(processor_seconds(place, sources, command, code))
                medians = {name: statistics.median(values) for name, values in times.items()}
                shown = ", ".join(f"{name}{seconds:.2f} s" for name, seconds in medians.items())
                print(f"{' '.join(command)}: {shown} of processors; expected within {GOALS[code]} s", flush=True)
                worst = max(worst, medians[""] / GOALS[code])
    print(f"ratio: {worst:.2f}")


if __name__ == "__main__":
    main()
