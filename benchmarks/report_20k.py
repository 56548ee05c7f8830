"""Processor time of the report on a made-up store of 20,000 fine-tunings, relative to 6 s, and of reading it, to MLflow's client.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/report_20k.py`. `--sources` names the `src` of another version
to compare with, which is timed alternately and must write the same report, apart from pictures. The store has 400 configurations
(10 encoders, 2 origins, 10 targets, 2 modes) of 10 epochs and 5 seeds, and their 200 score runs. One run of each kind is written as
the stages do it; the others are its rows with other values, inserted into the database directly, since writing them through MLflow
takes ten minutes. All score runs share one folder of per-image distances of 500 images, which is read again for each.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from inputs import EPOCHS, draw_dice, draw_pairs, gain
from medtransfer import tracking
from medtransfer.cli import quiet_libraries
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.pairs import write_pairs
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.seeds import derive_seed
from versions import conclude, in_turn, parser, run_on_store

ENCODERS = tuple(f"encoder{number}" for number in range(10))
TARGETS = tuple(f"target{number}" for number in range(10))
ORIGINS, MODES, SEEDS, IMAGES = ("simple", "advanced"), ("full", "decoder"), (1, 2, 3, 4, 5), 500
SETTING = RobustnessSetting("cosine", 0.5, -2, "frozen")
OVERLAP = ("dice", "jaccard", "mcc", "precision", "sensitivity", "specificity", "average_precision", "hd95")
METRICS = {f"{name}{part}": 0.5 for name in OVERLAP for part in ("", "_class_1", "_class_2", "_class_3")}
RECIPE = {"train_epochs": 150, "epoch_steps": None, "batch_size": 24, "lr": 0.05, "power": 0.9, "momentum": 0.9,
          "weight_decay": 1e-4, "select": "last", "precision": "32-true", "classes": 4}  # fmt: skip
NEEDED = ("source", "origin", "encoder", "target", "mode", "pretraining", "data", "protocol", "epoch", "seed", "primary", "dice")
GOAL = 6.0  # seconds of processors
Values = Mapping[str, Any]


def series_params(target: str, encoder: str, origin: str) -> dict[str, Any]:
    """Return the params that fine-tunings and score runs of one pretraining on one target share."""
    names = {"source": "imagenet", "target": target, "encoder": encoder, "origin": origin}
    return {**names, "pretraining": digest([encoder, origin], 12), "data": digest(target, 12)}


def tuned() -> Iterator[tuple[Values, Values]]:
    """Yield params and metrics of every fine-tuning; Dice rises with pretraining and then falls a little."""
    for target, encoder, origin, mode in product(TARGETS, ENCODERS, ORIGINS, MODES):
        rng = np.random.default_rng(derive_seed(target, encoder, origin, mode))
        peak = rng.uniform(0.5, 1.0)
        shared = {**series_params(target, encoder, origin), "mode": mode, "protocol": "p", "primary": "dice", **RECIPE}
        for epoch, seed in product(EPOCHS, SEEDS):
            own = {"epoch": epoch, "seed": seed, "weights": digest([encoder, origin, epoch], 12)}
            yield {**shared, **own}, {"dice": draw_dice(rng, epoch, peak)}


def scored() -> Iterator[Values]:
    """Yield the params of every score run."""
    for series in product(TARGETS, ENCODERS, ORIGINS):
        yield {**series_params(*series), **vars(SETTING), "images": IMAGES, "split": "train", "negative": "random", "repeats": 1}


def write_distances(folder: Path) -> None:
    """Write the per-image distances of every epoch; their gaps widen with it."""
    rng = np.random.default_rng(0)
    for epoch in EPOCHS:
        write_pairs(folder / f"epoch-{epoch:03d}.npz", draw_pairs(rng, IMAGES, partial(_gap, epoch)))


def _gap(epoch: int) -> float:
    return 0.6 * gain(epoch)


def write_first(folder: Path) -> None:
    """Write one run of each kind as the stages do."""
    params, metrics = next(tuned())
    losses = {name: dict.fromkeys(range(1, 11), 0.5) for name in ("train_loss", "lr")}
    first = tracking.RunRecord("first", digest(params, 16), params, {**METRICS, **metrics}, losses)
    tracking.write_runs("finetune", [first], "the first fine-tuning")
    write_distances(folder)
    params = next(scored())
    names = ("robustness", "robustness_pooled", "robustness_se", "robustness_pooled_se", "source_accuracy")
    curves = {name: {epoch: 0.3 + 0.5 * gain(epoch) for epoch in EPOCHS} for name in names}
    first = tracking.RunRecord("first", digest(params, 16), params, {}, curves, artifacts={"scores": folder})
    tracking.write_runs("score", [first], "the first scores")


def copy_run(store: sqlite3.Connection, first: str, others: Sequence[tuple[Values, Values]]) -> None:
    """Insert copies of a run into the database, each with its own params and final metrics."""
    for table in ("runs", "tags", "params", "latest_metrics", "metrics"):
        columns = [line[1] for line in store.execute(f"PRAGMA table_info({table})")]
        rows = [dict(zip(columns, row, strict=True)) for row in store.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", [first])]
        insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
        store.executemany(insert, copy_rows(table, rows, others))


def copy_rows(table: str, rows: list[dict[str, Any]], others: Sequence[tuple[Values, Values]]) -> Iterator[list[Any]]:
    """Yield the rows of copies of a run in a table, each with its own params and final metrics."""
    for number, (params, metrics) in enumerate(others):
        own: Values = {"params": params, "tags": {tracking.CELL: digest(params, 16)}}.get(table, metrics)
        for row in rows:
            changed = {**row, "run_uuid": digest(["run", params], 32)}
            if table == "runs":
                changed["start_time"] += number
            elif row["key"] in own:
                changed["value"] = own[row["key"]] if "step" in row else str(own[row["key"]])
            yield list(changed.values())


def fill_store(folder: Path) -> None:
    """Create the store through MLflow and fill it."""
    write_first(folder / "scores")
    (fine_tuning,), (scoring,) = tracking.read_runs("finetune"), tracking.read_runs("score")
    with sqlite3.connect(folder / "mlflow.db") as store:
        copy_run(store, fine_tuning.id, list(tuned())[1:])
        copy_run(store, scoring.id, [(params, {}) for params in scored()][1:])


def read_by_client() -> dict[str, float]:
    """Return the Dice of every fine-tuning by run, as MLflow's own client reads it."""
    client = tracking.connect()
    found = client.get_experiment_by_name("medtransfer/finetune")
    assert found is not None
    experiment = found.experiment_id
    dice: dict[str, float] = {}
    token = None
    while True:
        page = client.search_runs([experiment], "attributes.status = 'FINISHED'", max_results=5000, page_token=token)
        dice |= {run.info.run_id: run.data.metrics["dice"] for run in page}
        token = page.token
        if not token:
            return dice


def timed(label: str, work: Any) -> tuple[float, Any]:
    """Do some work, and print and return the seconds it takes."""
    begin = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begin
    print(f"{label}: {seconds:.1f} s", flush=True)
    return seconds, result


def main() -> None:
    """Fill a store, read it in both ways, write the report, and print the seconds."""
    chosen = parser(__doc__).parse_args()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as place:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        timed("making the store", lambda: fill_store(Path(place)))
        slow, expected = timed("reading through MLflow's client", read_by_client)
        timed("reading everything from the tables", lambda: tracking.read_runs("finetune"))
        fast, runs = timed("reading what the report needs", lambda: tracking.read_runs("finetune", only=NEEDED))
        if {each.id: each.metrics["dice"] for each in runs} != expected:
            raise SystemExit("the two ways of reading differ")
        print(f"reading, relative to MLflow's client: {fast / slow:.3f}")
        shutil.copy(f"{place}/mlflow.db", f"{place}/filled.db")
        times = in_turn(chosen, lambda sources: run_on_store(place, sources, ("report", "--all")))
    conclude(f"the whole report of {len(runs)} fine-tunings", times, GOAL)


if __name__ == "__main__":
    main()
