"""Time of `medtransfer rank` in a new folder of results, over that without its workers' libraries loading beside its own.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/rank_start.py`. Both rank two small timm models
with random weights on the generated sample by two local workers, in turn; the best round of each counts. With one core, where
no worker is started, both sides are the same.
"""

import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

COMMAND = "from medtransfer.__main__ import main; main()"
APART = f"from medtransfer.grid.local import Local; Local.prepare = lambda *_: None; {COMMAND}"


def seconds(code: str, folder: Path, out: str) -> float:
    """Return the seconds that a ranking takes in a folder."""
    unset = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"PYTHONPATH": str(Path("src").resolve()), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    words = ("rank", "--candidates", "random@test_resnet", "random@test_convnext", "--workers", "2", "--out", out)
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *words], cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    """Print each round and the ratio of the best ones."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {APART: [], COMMAND: []}
    with tempfile.TemporaryDirectory() as place:
        seconds(COMMAND, Path(place), "first")  # makes the sample and the store
        for number in range(1, rounds + 1):
            for side, (code, found) in enumerate(times.items()):
                found.append(seconds(code, Path(place), f"round-{number}-{side}"))
            print(f"round {number}: one after the other {times[APART][-1]:.1f} s, beside each other {times[COMMAND][-1]:.1f} s")
    print(f"ratio: {min(times[COMMAND]) / min(times[APART]):.2f}")


if __name__ == "__main__":
    main()
