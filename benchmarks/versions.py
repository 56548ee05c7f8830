"""Run a command of this version, and of another one where `--sources` names it, in turn; compare seconds and results."""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

Files = dict[str, bytes]  # content by name
PICTURE = re.compile(rb"<svg.*?</svg>", re.DOTALL)


class Seconds(NamedTuple):
    """Seconds of the processors and of the clock."""

    processors: float
    wall: float


def parser(text: str | None, runs: int = 3) -> ArgumentParser:
    """Return a parser of the options that benchmarks of commands share."""
    options = ArgumentParser(description=text)
    options.add_argument("--runs", type=int, default=runs)
    options.add_argument("--sources", type=Path, help="the `src` of another version")
    options.add_argument("--without-pictures", action="store_true", help="do not compare the versions' pictures")
    return options


def named(chosen: Namespace) -> dict[str, str]:
    """Return the `src` of each version by its name in the output; this one's is empty."""
    other = {"other version: ": str(chosen.sources.resolve())} if chosen.sources else {}
    return {"": str(Path("src").resolve()), **other}


def run(place: str | Path, sources: str, command: tuple[str, ...], expected: int = 0) -> Seconds:
    """Run a command in a process of its own.

    Args:
        place: folder to run in.
        sources: `src` of the version.
        command: arguments of `medtransfer`.
        expected: exit code; another one ends the benchmark.
    """
    names = {"MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": sources, "OMP_NUM_THREADS": "1"}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "medtransfer", *command], cwd=place, env=environment, capture_output=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != expected:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.decode()}")
    return Seconds(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def run_on_store(place: str, sources: str, command: tuple[str, ...]) -> tuple[Seconds, Files]:
    """Run a command on the store as it was filled, `filled.db` in `place`; return the seconds and the files that it writes.

    `finished.json` is left out, which names the version of the code.
    """
    shutil.copy(f"{place}/filled.db", f"{place}/mlflow.db")
    out = Path(place) / "out"
    shutil.rmtree(out, ignore_errors=True)
    return run(place, sources, (*command, "--out", str(out))), _read(out)


def _read(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "finished.json"}


def in_turn(chosen: Namespace, once: Callable[[str], tuple[Seconds, Files]]) -> dict[str, list[Seconds]]:
    """Run the versions alternately; end the benchmark if they write different files.

    Args:
        chosen: options of `parser`.
        once: runs the version of a `src` and returns the seconds and the files.

    Returns:
        The seconds of each version's runs by its name in the output.
    """
    versions = named(chosen)
    times: dict[str, list[Seconds]] = {name: [] for name in versions}
    for _ in range(chosen.runs):
        written = {}
        for name, sources in versions.items():
            seconds, files = once(sources)
            times[name].append(seconds)
            written[name] = _without_pictures(files) if chosen.without_pictures else files
        if any(files != written[""] for files in written.values()):
            raise SystemExit("the two versions write different results")
    return times


def _without_pictures(files: Files) -> Files:
    return {file: PICTURE.sub(b"", content) for file, content in files.items() if not file.endswith(".png")}


def conclude(what: str, times: Mapping[str, list[Seconds]], goal: float) -> None:
    """Print the best seconds of every version, and this one's relative to the goal in seconds of processors."""
    best = {name: (min(each.processors for each in runs), min(each.wall for each in runs)) for name, runs in times.items()}
    shown = ", ".join(f"{name}{processors:.1f} s of processors ({wall:.1f} s)" for name, (processors, wall) in best.items())
    print(f"{what}: {shown}; expected within {goal:g} s of processors")
    print(f"ratio: {best[''][0] / goal:.2f}")
