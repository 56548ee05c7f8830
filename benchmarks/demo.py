"""Time of `medtransfer demo` with the project's params.yaml in an empty folder, relative to two minutes.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/demo.py`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 120.0  # seconds, on two cores that do nothing else


def main() -> None:
    """Measure and print, after the output of the demo itself."""
    sources = Path("src").resolve()
    unset = {"MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"}
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(sources)}
    with tempfile.TemporaryDirectory() as place:
        shutil.copy("params.yaml", place)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "medtransfer", "demo"], cwd=place, env=environment, check=True)
        seconds = time.perf_counter() - begin
    print(f"medtransfer demo: {seconds:.1f} s, expected within {GOAL:.0f} s")
    print(f"ratio: {seconds / GOAL:.2f}")


if __name__ == "__main__":
    main()
