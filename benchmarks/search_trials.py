"""Processor time of a search over the default 4,848 settings on a made-up store of 36 configurations, relative to 10 s.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/search_trials.py`. `--sources` names the `src` of another
version to compare with, which is timed alternately and must find the same. The store has 3 targets, 6 pretrainings and
2 modes, 10 epochs each, with the distances of 500 images.
"""

import os
import shutil
import tempfile
import time
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from inputs import EPOCHS, draw_dice, draw_pairs, gain
from medtransfer import tracking
from medtransfer.environment import quiet_libraries
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.pairs import write_pairs
from medtransfer.seeds import derive_seed
from versions import conclude, in_turn, parser, run_on_store

TARGETS, MODES, SEEDS, IMAGES = ("acdc", "covid-qu", "idrid"), ("full", "decoder"), (1, 2, 3, 4, 5), 500
SERIES = tuple(product(("unet", "resnet50", "swin"), ("simple", "advanced")))
GOAL = 10.0  # seconds of processors


def _gap(rng: np.random.Generator, epoch: int) -> float:
    """Draw how much farther the negatives are: another gap at every key."""
    return gain(epoch) * float(rng.uniform(0, 0.6))


def score_record(folder: Path, target: str, encoder: str, origin: str) -> tracking.RunRecord:
    """Write the distances of one pretraining on one target and describe their run."""
    for epoch in EPOCHS:
        rng = np.random.default_rng(derive_seed(target, encoder, origin, epoch))
        pairs = draw_pairs(rng, IMAGES, partial(_gap, rng, epoch))
        write_pairs(folder / f"epoch-{epoch:03d}.npz", pairs)
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
        dice = draw_dice(rng, epoch, peak)
        params = {**fields, "epoch": epoch, "seed": seed}
        found.append(tracking.RunRecord(f"{target} {epoch}", digest(params, 16), params, {"dice": dice}))
    return found


def fill_store(folder: Path) -> None:
    """Write all runs that the search reads."""
    lines = [(target, *series) for target, series in product(TARGETS, SERIES)]
    tracking.write_runs("score", [score_record(folder / "-".join(line), *line) for line in lines], "scores")
    tuned = [record for line, mode in product(lines, MODES) for record in tuned_records(*line, mode)]
    tracking.write_runs("finetune", tuned, "fine-tunings")


def main() -> None:
    """Fill a store, search it and print the seconds."""
    chosen = parser(__doc__).parse_args()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as place:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        begin = time.perf_counter()
        fill_store(Path(place) / "scores")
        print(f"store of {len(TARGETS) * len(SERIES) * len(MODES)} configurations: {time.perf_counter() - begin:.1f} s", flush=True)
        shutil.copy(f"{place}/mlflow.db", f"{place}/filled.db")
        times = in_turn(chosen, lambda sources: run_on_store(place, sources, ("search", "--all")))
    conclude("every setting, with runs and plots", times, GOAL)


if __name__ == "__main__":
    main()
