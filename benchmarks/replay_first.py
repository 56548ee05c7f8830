"""Processor time of the first replay of the released results, relative to 20 s.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/replay_first.py FOLDER`, where the folder holds the authors'
`downstream_scores.csv` and `robustness_scores.csv` (docs/how-to/replay.md). `--sources` names the `src` of another version to
compare with, which is timed alternately and must write the same pages and tables, apart from pictures.
"""

import tempfile
from pathlib import Path

from versions import Files, Seconds, conclude, in_turn, parser, run

GOAL = 20.0  # seconds of processors


def replay(released: Path, sources: str) -> tuple[Seconds, Files]:
    """Replay into an empty store; return the seconds, and the files by name."""
    files = [f"--{name}={(released / f'{name}_scores.csv').resolve()}" for name in ("downstream", "robustness")]
    with tempfile.TemporaryDirectory() as place:
        seconds = run(place, sources, ("replay", *files, "--out", "replay"))
        out = Path(place) / "replay"
        return seconds, {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def main() -> None:
    """Replay in turn and print the seconds."""
    options = parser(__doc__)
    options.add_argument("released", type=Path, help="folder of the two released files")
    chosen = options.parse_args()
    times = in_turn(chosen, lambda sources: replay(chosen.released, sources))
    conclude("the first replay", times, GOAL)


if __name__ == "__main__":
    main()
