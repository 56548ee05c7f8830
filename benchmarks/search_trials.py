"""A made-up store of 36 configurations goes in; the seconds that a search of 1,000 trials takes come out, over one minute.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/search_trials.py`. The store has 3 targets, 6 pretrainings and
2 modes, 10 epochs each, with the distances of 500 images; so there are 4 studies, of 250 trials each.
"""

import os
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from medtransfer import tracking
from medtransfer.cli import quiet_libraries
from medtransfer.config import load_params
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.measure import Pairs
from medtransfer.indicators.robustness.pairs_file import write_pairs
from medtransfer.search.stage import run
from medtransfer.seeds import derive_seed

EPOCHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
TARGETS, MODES, SEEDS, IMAGES = ("acdc", "covid-qu", "idrid"), ("full", "decoder"), (1, 2, 3, 4, 5), 500
SERIES = tuple(product(("unet", "resnet50", "swin"), ("simple", "advanced")))
KEYS = tuple(product(("cosine", "pearson", "l2", "euclidean"), (-1, -2, -3, -4), (False, True)))
GOAL = 60.0  # seconds


def draw_pairs(target: str, encoder: str, origin: str, epoch: int) -> Pairs:
    """Draw distances whose gaps widen with the epoch, at every setting by another amount."""
    rng = np.random.default_rng(derive_seed(target, encoder, origin, epoch))
    gain = np.log1p(epoch) / np.log1p(EPOCHS[-1])
    d_pos = {key: np.abs(rng.normal(0.5, 0.2, (1, IMAGES))).astype(np.float32) for key in KEYS}
    d_neg = {key: (d_pos[key] + rng.normal(gain * rng.uniform(0, 0.6), 0.3, (1, IMAGES))).astype(np.float32) for key in KEYS}
    return Pairs(d_pos, d_neg, [str(image) for image in range(IMAGES)])


def score_record(folder: Path, target: str, encoder: str, origin: str) -> tracking.Record:
    """Write the distances of one pretraining on one target and describe their run."""
    for epoch in EPOCHS:
        write_pairs(folder / f"epoch-{epoch:03d}.npz", draw_pairs(target, encoder, origin, epoch))
    params = {"target": target, "data": target, "encoder": encoder, "origin": origin, "pretraining": f"{encoder}-{origin}",
              "images": IMAGES, "distance": "cosine", "margin": 0.5, "level": -2}  # fmt: skip
    curves = {name: dict.fromkeys(EPOCHS, 0.5) for name in ("robustness", "robustness_pooled")}
    return tracking.Record(f"{target}-{encoder}-{origin}", digest(params, 16), params, {}, curves, {}, {"scores": folder})


def tuned_records(target: str, encoder: str, origin: str, mode: str) -> list[tracking.Record]:
    """Describe the fine-tunings of one configuration, whose Dice rises and then falls a little."""
    rng = np.random.default_rng(derive_seed(target, encoder, origin, mode))
    peak = rng.uniform(0.5, 1.0)
    fields = {"source": "imagenet", "origin": origin, "encoder": encoder, "target": target, "mode": mode,
              "pretraining": f"{encoder}-{origin}", "data": target, "protocol": "p", "primary": "dice"}  # fmt: skip
    found = []
    for epoch, seed in product(EPOCHS, SEEDS):
        dice = 0.85 - 0.2 * (np.log1p(epoch) / np.log1p(EPOCHS[-1]) - peak) ** 2 + rng.normal(0, 0.003)
        params = {**fields, "epoch": epoch, "seed": seed}
        found.append(tracking.Record(f"{target} {epoch}", digest(params, 16), params, {"dice": float(dice)}))
    return found


def fill_store(folder: Path) -> None:
    """Write all runs that the search reads."""
    lines = [(target, *series) for target, series in product(TARGETS, SERIES)]
    tracking.write_runs("score", [score_record(folder / "-".join(line), *line) for line in lines], "scores")
    tuned = [record for line, mode in product(lines, MODES) for record in tuned_records(*line, mode)]
    tracking.write_runs("finetune", tuned, "fine-tunings")


def main() -> None:
    """Fill a store, search it and print the seconds."""
    quiet_libraries()
    params = load_params([Path("params.yaml")], {})
    with tempfile.TemporaryDirectory() as place:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        begin = time.perf_counter()
        fill_store(Path(place) / "scores")
        print(f"store of {len(TARGETS) * len(SERIES) * len(MODES)} configurations: {time.perf_counter() - begin:.1f} s")
        section = params.search.model_copy(update={"out": f"{place}/search", "trials": 250})
        begin = time.perf_counter()
        text = run(section, {"distance": "cosine", "margin": 0.5, "level": -2}, "frozen")
        seconds = time.perf_counter() - begin
        print(text)
        begin = time.perf_counter()
        run(section, {"distance": "cosine", "margin": 0.5, "level": -2}, "frozen")
        print(f"the same search again, reused: {time.perf_counter() - begin:.1f} s")
    print(f"1,000 trials with their runs and plots: {seconds:.1f} s, expected within {GOAL:.0f} s")
    print(f"ratio: {seconds / GOAL:.2f}")


if __name__ == "__main__":
    main()
