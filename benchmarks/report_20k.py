"""Processor time of the report on a made-up store of 20,000 fine-tunings, relative to 6 s, and of reading it, to MLflow's client.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/report_20k.py`. `--sources` names the `src` of another version
to compare with, which is timed alternately and must write the same report. The store has 400 configurations (10 encoders,
2 origins, 10 targets, 2 modes) of 10 epochs and 5 seeds, and their 200 score runs. One run of each kind is written as the stages do
it; the others are its rows with other values, inserted into the database directly, since writing them through MLflow takes ten
minutes. All score runs share one folder of per-image distances of 500 images, which is read again for each.
"""

import argparse
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer import tracking
from medtransfer.cli import quiet_libraries
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.pairs import Pairs, write_pairs
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.seeds import derive_seed
from reuse import processor_seconds

EPOCHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
ENCODERS = tuple(f"encoder{number}" for number in range(10))
TARGETS = tuple(f"target{number}" for number in range(10))
ORIGINS, MODES, SEEDS, IMAGES = ("simple", "advanced"), ("full", "decoder"), (1, 2, 3, 4, 5), 500
KEYS = tuple(product(("cosine", "pearson", "l2", "euclidean"), (-1, -2, -3, -4), (False, True)))
SETTING = RobustnessSetting("cosine", 0.5, -2, "frozen")
OVERLAP = ("dice", "jaccard", "mcc", "precision", "sensitivity", "specificity", "average_precision", "hd95")
METRICS = {f"{name}{part}": 0.5 for name in OVERLAP for part in ("", "_class_1", "_class_2", "_class_3")}
RECIPE = {"train_epochs": 150, "epoch_steps": None, "batch_size": 24, "lr": 0.05, "power": 0.9, "momentum": 0.9,
          "weight_decay": 1e-4, "select": "last", "precision": "32-true", "classes": 4}  # fmt: skip
NEEDED = ("source", "origin", "encoder", "target", "mode", "pretraining", "data", "protocol", "epoch", "seed", "primary", "dice")
GOAL = 6.0  # seconds of processors
Values = Mapping[str, Any]


def gain(epoch: int) -> float:
    """Progress of a pretraining at an epoch, from 0 to 1."""
    return float(np.log1p(epoch) / np.log1p(EPOCHS[-1]))


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
            dice = 0.85 - 0.2 * (gain(epoch) - peak) ** 2 + float(rng.normal(0, 0.003))
            yield {**shared, "epoch": epoch, "seed": seed, "weights": digest([encoder, origin, epoch], 12)}, {"dice": dice}


def scored() -> Iterator[Values]:
    """Yield the params of every score run."""
    for series in product(TARGETS, ENCODERS, ORIGINS):
        yield {**series_params(*series), **vars(SETTING), "images": IMAGES, "split": "train", "negative": "random", "repeats": 1}


def write_distances(folder: Path) -> None:
    """Write the per-image distances of every epoch; their gaps widen with it."""
    rng = np.random.default_rng(0)
    for epoch in EPOCHS:
        d_pos = {key: np.abs(rng.normal(0.5, 0.2, (1, IMAGES))).astype(np.float32) for key in KEYS}
        d_neg = {key: (near + rng.normal(0.6 * gain(epoch), 0.3, (1, IMAGES))).astype(np.float32) for key, near in d_pos.items()}
        pairs = Pairs(d_pos, d_neg, [str(image) for image in range(IMAGES)], np.arange(IMAGES))
        write_pairs(folder / f"epoch-{epoch:03d}.npz", pairs)


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


def copy_run(store: sqlite3.Connection, first: str, others: list[tuple[Values, Values]]) -> None:
    """Insert copies of a run into the database, each with its own params and final metrics."""
    for table in ("runs", "tags", "params", "latest_metrics", "metrics"):
        columns = [line[1] for line in store.execute(f"PRAGMA table_info({table})")]
        rows = [dict(zip(columns, row, strict=True)) for row in store.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", [first])]
        insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
        store.executemany(insert, _copies(table, rows, others))


def _copies(table: str, rows: list[dict[str, Any]], others: list[tuple[Values, Values]]) -> Iterator[list[Any]]:
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
    experiment = client.get_experiment_by_name("medtransfer/finetune").experiment_id
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


def report(place: str, sources: str) -> tuple[float, dict[str, bytes]]:
    """Write the report once on the store as it was filled; return the processor seconds, and the files by name."""
    shutil.copy(f"{place}/filled.db", f"{place}/mlflow.db")
    out = Path(place) / "reports"
    shutil.rmtree(out, ignore_errors=True)
    seconds = processor_seconds(place, sources, ("report", "--all", "--out", str(out)), 0)
    return seconds, {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def main() -> None:
    """Fill a store, read it in both ways, write the report, and print the seconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--sources", type=Path, help="the `src` of another version")
    chosen = options.parse_args()
    versions = {"": str(Path("src").resolve())} | ({"other version: ": str(chosen.sources.resolve())} if chosen.sources else {})
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
        times: dict[str, list[float]] = {name: [] for name in versions}
        for _ in range(chosen.runs):
            written = {}
            for name, sources in versions.items():
                seconds, written[name] = report(place, sources)
                times[name].append(seconds)
            if any(files != written[""] for files in written.values()):
                raise SystemExit("the two versions write different reports")
    shown = ", ".join(f"{name}{min(seconds):.1f} s" for name, seconds in times.items())
    print(f"the whole report of {len(runs)} fine-tunings: {shown} of processors; expected within {GOAL:.0f} s")
    print(f"ratio: {min(times['']) / GOAL:.2f}")


if __name__ == "__main__":
    main()
