"""Processor time of a search over the default 4,848 settings on a made-up store of 36 configurations, relative to 10 s.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/search_trials.py`. `--sources` names the `src` of another
version to compare with, which is timed alternately and must find the same. The store has 3 targets, 6 pretrainings and
2 modes, 10 epochs each, with the distances of 500 images.
"""

import argparse
import os
import shutil
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from medtransfer import tracking
from medtransfer.environment import quiet_libraries
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.pairs import Pairs, write_pairs
from medtransfer.seeds import derive_seed
from reuse import processor_seconds

EPOCHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
TARGETS, MODES, SEEDS, IMAGES = ("acdc", "covid-qu", "idrid"), ("full", "decoder"), (1, 2, 3, 4, 5), 500
SERIES = tuple(product(("unet", "resnet50", "swin"), ("simple", "advanced")))
KEYS = tuple(product(("cosine", "pearson", "l2", "euclidean"), (-1, -2, -3, -4), (False, True)))
GOAL = 10.0  # seconds of processors


def draw_pairs(target: str, encoder: str, origin: str, epoch: int) -> Pairs:
    """Draw distances whose gaps widen with the epoch, at every setting by another amount."""
    rng = np.random.default_rng(derive_seed(target, encoder, origin, epoch))
    gain = np.log1p(epoch) / np.log1p(EPOCHS[-1])
    d_pos = {key: np.abs(rng.normal(0.5, 0.2, (1, IMAGES))).astype(np.float32) for key in KEYS}
    d_neg = {key: (d_pos[key] + rng.normal(gain * rng.uniform(0, 0.6), 0.3, (1, IMAGES))).astype(np.float32) for key in KEYS}
    return Pairs(d_pos, d_neg, [str(image) for image in range(IMAGES)], np.arange(IMAGES))


def score_record(folder: Path, target: str, encoder: str, origin: str) -> tracking.RunRecord:
    """Write the distances of one pretraining on one target and describe their run."""
    for epoch in EPOCHS:
        write_pairs(folder / f"epoch-{epoch:03d}.npz", draw_pairs(target, encoder, origin, epoch))
    params = {"target": target, "data": target, "encoder": encoder, "origin": origin, "pretraining": f"{encoder}-{origin}",
              "images": IMAGES, "distance": "cosine", "margin": 0.5, "level": -2}  # fmt: skip
    curves = {name: dict.fromkeys(EPOCHS, 0.5) for name in ("robustness", "robustness_pooled")}
    return tracking.RunRecord(f"{target}-{encoder}-{origin}", digest(params, 16), params, {}, curves, {}, {"scores": folder})


def tuned_records(target: str, encoder: str, origin: str, mode: str) -> list[tracking.RunRecord]:
    """Describe the fine-tunings of one configuration, whose Dice rises and then falls a little."""
    rng = np.random.default_rng(derive_seed(target, encoder, origin, mode))
    peak = rng.uniform(0.5, 1.0)
    fields = {"source": "imagenet", "origin": origin, "encoder": encoder, "target": target, "mode": mode,
              "pretraining": f"{encoder}-{origin}", "data": target, "protocol": "p", "primary": "dice"}  # fmt: skip
    found = []
    for epoch, seed in product(EPOCHS, SEEDS):
        dice = 0.85 - 0.2 * (np.log1p(epoch) / np.log1p(EPOCHS[-1]) - peak) ** 2 + rng.normal(0, 0.003)
        params = {**fields, "epoch": epoch, "seed": seed}
        found.append(tracking.RunRecord(f"{target} {epoch}", digest(params, 16), params, {"dice": float(dice)}))
    return found


def fill_store(folder: Path) -> None:
    """Write all runs that the search reads."""
    lines = [(target, *series) for target, series in product(TARGETS, SERIES)]
    tracking.write_runs("score", [score_record(folder / "-".join(line), *line) for line in lines], "scores")
    tuned = [record for line, mode in product(lines, MODES) for record in tuned_records(*line, mode)]
    tracking.write_runs("finetune", tuned, "fine-tunings")


def search(place: str, sources: str) -> tuple[float, dict[str, bytes]]:
    """Search once on the store as it was filled; return the processor seconds, and the files by name."""
    shutil.copy(f"{place}/filled.db", f"{place}/mlflow.db")
    out = Path(place) / "search"
    shutil.rmtree(out, ignore_errors=True)
    seconds = processor_seconds(place, sources, ("search", "--all", "--out", str(out)), 0)
    return seconds, {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def main() -> None:
    """Fill a store, search it and print the seconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--sources", type=Path, help="the `src` of another version")
    chosen = options.parse_args()
    versions = {"": str(Path("src").resolve())} | ({"other version: ": str(chosen.sources.resolve())} if chosen.sources else {})
    quiet_libraries()
    with tempfile.TemporaryDirectory() as place:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        begin = time.perf_counter()
        fill_store(Path(place) / "scores")
        print(f"store of {len(TARGETS) * len(SERIES) * len(MODES)} configurations: {time.perf_counter() - begin:.1f} s", flush=True)
        shutil.copy(f"{place}/mlflow.db", f"{place}/filled.db")
        times: dict[str, list[float]] = {name: [] for name in versions}
        for _ in range(chosen.runs):
            found = {}
            for name, sources in versions.items():
                seconds, found[name] = search(place, sources)
                times[name].append(seconds)
            if any(files != found[""] for files in found.values()):
                raise SystemExit("the two versions find different settings")
    shown = ", ".join(f"{name}{min(seconds):.1f} s" for name, seconds in times.items())
    print(f"every setting, with runs and plots: {shown} of processors; expected within {GOAL:.0f} s")
    print(f"ratio: {min(times['']) / GOAL:.2f}")


if __name__ == "__main__":
    main()
