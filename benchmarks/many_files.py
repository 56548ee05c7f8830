"""Time of writing a file to a folder that has many, such as the records of a prediction, relative to that in a small folder.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/many_files.py`. Every file is written atomically, as results
are. Where each write looked at the whole folder, predicting many images took a time that grew with the square of their number.
"""

import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from medtransfer.records import write_json

WRITTEN = 500  # files per round


def seconds(folder: Path) -> float:
    """Return the seconds of writing the first files of a folder, or of replacing them."""
    begin = time.perf_counter()
    for number in range(WRITTEN):
        write_json(folder / f"{number}.json", {"number": number})
    return time.perf_counter() - begin


def main() -> None:
    """Write to both folders in turn, and print the times of a file."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="of the large folder")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as place:
        few, many = Path(place) / "few", Path(place) / "many"
        many.mkdir()
        for number in range(chosen.files):
            (many / f"{number}.json").touch()
        rounds = [(seconds(few), seconds(many)) for _ in range(chosen.rounds)]
    small, large = (min(side) / WRITTEN * 1e3 for side in zip(*rounds, strict=True))
    print(f"a file takes {small:.2f} ms in a folder of {WRITTEN}, {large:.2f} ms in one of {chosen.files:,}")
    print(f"ratio: {large / small:.2f}")


if __name__ == "__main__":
    main()
