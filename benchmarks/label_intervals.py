"""Processor time of the AUC of labels of images over draws of patients, relative to that of scikit-learn, draw by draw.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/label_intervals.py`. Such draws make the intervals of each
fine-tuning on labels of images, and the report's resampling of patients. scikit-learn computes some of the draws, and must agree.
"""

import time
from argparse import ArgumentParser

import numpy as np
from sklearn.metrics import roc_auc_score

from medtransfer.metrics.classification import Ranking, weigh_samples
from medtransfer.metrics.image_labels import AT_ONCE

DRAWS = 1000
THEIRS = 20  # draws that scikit-learn computes


def ours(scores: np.ndarray, positive: np.ndarray, taken: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Return the AUC of each draw (B,), in blocks as in the evaluation."""
    ranking, size = Ranking(scores, positive), max(1, AT_ONCE // len(scores))
    blocks = (weigh_samples(taken[first : first + size], patient) for first in range(0, len(taken), size))
    return np.concatenate([ranking.roc_auc(weights) for weights in blocks])


def theirs(scores: np.ndarray, positive: np.ndarray, taken: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Return the AUC of the first draws."""
    return np.array([roc_auc_score(positive, scores, sample_weight=counts[patient]) for counts in taken[:THEIRS]])


def main() -> None:
    """Compute both in turn, and print the seconds of all draws."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    rng, images = np.random.default_rng(0), chosen.images
    patient, scores = np.arange(images) // 3, rng.random(images).round(5)
    positive, patients = rng.random(images) < scores, int(patient[-1]) + 1
    taken = rng.multinomial(patients, np.full(patients, 1 / patients), size=DRAWS)
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(chosen.rounds):
        values = []
        for name, compute in (("ours", ours), ("theirs", theirs)):
            begin = time.process_time()
            values.append(compute(scores, positive, taken, patient))
            times[name].append(time.process_time() - begin)
        np.testing.assert_allclose(values[0][:THEIRS], values[1], atol=1e-9)
    first, second = min(times["ours"]), min(times["theirs"]) * DRAWS / THEIRS
    print(f"the AUC of {images:,} images over {DRAWS} draws takes {first:.2f} s, scikit-learn {second:.1f} s (from {THEIRS} draws)")
    print(f"ratio: {first / second:.3f}")


if __name__ == "__main__":
    main()
