"""Time writing many runs to an embedded store, with SQLite's ordinary journal and with a write-ahead log, in turn.

python benchmarks/bulk_import.py [--runs 300] [--rounds 3]
"""

import os
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from medtransfer import tracking
from medtransfer.tracking.bulk import _write_run
from medtransfer.tracking.store import engine, experiment
from medtransfer.tracking.tags import common_tags
from medtransfer.tracking.write_ahead import write_ahead


def records(runs: int) -> list[tracking.RunRecord]:
    """Return runs as the replay imports them: ten params, ten metrics."""
    numbers = range(10)
    return [
        tracking.RunRecord(f"run {n}", f"cell{n}", {f"p{k}": k for k in numbers}, {f"m{k}": k / 7 for k in numbers})
        for n in range(runs)
    ]


def seconds(runs: int, folder: Path, ahead: bool) -> float:
    """Write the runs to a new store in a folder."""
    file = folder / f"{'ahead' if ahead else 'ordinary'}.db"
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{file}"
    client = tracking.connect()
    number, common = experiment(client, "score"), common_tags("score")
    begin = time.perf_counter()
    if ahead:
        with write_ahead(engine(client), file):
            _write(client, number, common, runs)
    else:
        _write(client, number, common, runs)
    return time.perf_counter() - begin


def _write(client: object, number: str, common: dict[str, str], runs: int) -> None:
    for record in records(runs):
        _write_run(client, "score", number, common, record, None)  # type: ignore[arg-type]


def main() -> None:
    """Print the best round of each side and their ratio."""
    options = ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=300)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", type=Path, help="on the disk to be measured; default: the current folder")
    given = options.parse_args()
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(given.rounds):
        for ahead in times:
            with tempfile.TemporaryDirectory(dir=given.folder or Path.cwd()) as folder:
                times[ahead].append(seconds(given.runs, Path(folder), ahead))
        print(f"round {number + 1}: ordinary journal {times[False][-1]:.2f} s, write-ahead log {times[True][-1]:.2f} s")
    print(f"ratio: {min(times[False]) / min(times[True]):.2f}")


if __name__ == "__main__":
    main()
