"""Time of `medtransfer --help` in a fresh process, relative to a quarter of a second.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/cli_help.py`.
"""

import argparse
import statistics
import subprocess
import sys
import time

GOAL = 0.25  # seconds


def seconds_of(*arguments: str) -> float:
    """Run the command in a process of its own and return the seconds it takes."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "medtransfer", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=15)
    runs = options.parse_args().runs
    medians = {}
    for arguments in (("--help",), ("finetune", "--help")):
        times = [seconds_of(*arguments) for _ in range(runs)]
        medians[arguments] = statistics.median(times)
        name = " ".join(("medtransfer", *arguments))
        print(f"{name}: best {min(times):.3f} s, median {medians[arguments]:.3f} s of {runs}; expected within {GOAL} s")
    print(f"ratio: {medians[('--help',)] / GOAL:.2f}")


if __name__ == "__main__":
    main()
