"""Processor time of the first replay of the released results, relative to 20 s.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/replay_first.py FOLDER`, where the folder holds the authors'
`downstream_scores.csv` and `robustness_scores.csv` (docs/how-to/replay.md). `--sources` names the `src` of another version to
compare with, which is timed alternately and must write the same pages, tables and figures.
"""

import argparse
import tempfile
from pathlib import Path

from reuse import processor_seconds

GOAL = 20.0  # seconds of processors


def replay(released: Path, sources: str) -> tuple[float, dict[str, bytes]]:
    """Replay into an empty store; return the processor seconds, and the files by name."""
    files = [f"--{name}={(released / f'{name}_scores.csv').resolve()}" for name in ("downstream", "robustness")]
    with tempfile.TemporaryDirectory() as place:
        seconds = processor_seconds(place, sources, ("replay", *files, "--out", "replay"), 0)
        out = Path(place) / "replay"
        return seconds, {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def main() -> None:
    """Replay in turn and print the seconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("released", type=Path, help="folder of the two released files")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--sources", type=Path, help="the `src` of another version")
    chosen = options.parse_args()
    versions = {"": str(Path("src").resolve())} | ({"other version: ": str(chosen.sources.resolve())} if chosen.sources else {})
    times: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(chosen.runs):
        written = {}
        for name, sources in versions.items():
            seconds, written[name] = replay(chosen.released, sources)
            times[name].append(seconds)
        if any(files != written[""] for files in written.values()):
            raise SystemExit("the two versions write different replays")
    shown = ", ".join(f"{name}{min(seconds):.1f} s" for name, seconds in times.items())
    print(f"the first replay: {shown} of processors; expected within {GOAL:.0f} s")
    print(f"ratio: {min(times['']) / GOAL:.2f}")


if __name__ == "__main__":
    main()
