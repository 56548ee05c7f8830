"""Processor time of evaluating segmentations, relative to that of 420 images per second (all metrics) and 1,680 (Dice alone).

Run it from the project's folder: `PYTHONPATH=src python benchmarks/evaluate.py`. Measured is everything from the logits of a model
on, in the stage's own `evaluate`: probabilities, labels, counts, average precision and HD95 of three classes at 224 x 224, and
their summary; Dice alone is what each validation during training computes. The logits are made up: smooth shapes with wrong edges.
The time of pooling counts by patient is printed for growing numbers of images. `--sources` names the `src` of another version to
compare with, which is timed alternately and must compute the same values.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medtransfer.data.epochs import Samples
from medtransfer.finetune.evaluation import evaluate
from medtransfer.metrics.counts import Counts
from medtransfer.tasks import TASKS
from medtransfer.training.device import open_fabric

CLASSES, BATCH = 3, 24
GOALS = {"all metrics": 420, "Dice alone": 1680}  # images per second of one core
POOLED = (1_000, 10_000, 100_000)  # images, in groups of ten


class Made(Samples):
    """True masks in memory, with images that nothing looks at."""

    def __init__(self, truth: Tensor) -> None:
        """Hold masks uint8 (N, H, W), four to a patient."""
        super().__init__(0)
        self._truth, self.mean, self.std = truth, (0.5,) * 3, (0.5,) * 3
        self.images = [f"image {i}" for i in range(len(truth))]
        self.groups = [f"patient {i // 4}" for i in range(len(truth))]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        """Return an image of one pixel, and the mask."""
        return torch.zeros(1, 1, 3, dtype=torch.uint8), self._truth[index], index


class Known(nn.Module):
    """Returns logits (N, classes + 1, H, W) batch by batch, channels last as a decoder does."""

    def __init__(self, logits: Tensor) -> None:
        """Divide the logits into batches."""
        super().__init__()
        self._batches = [part.contiguous(memory_format=torch.channels_last) for part in logits.split(BATCH)]
        self._next = 0

    def forward(self, images: Tensor) -> Tensor:
        """Return the next batch, after the last the first."""
        self._next += 1
        return self._batches[(self._next - 1) % len(self._batches)]


def make(images: int, size: int) -> tuple[Tensor, Tensor]:
    """Make masks uint8 (N, H, W), a third of whose pixels are of a class, and logits (N, classes + 1, H, W) of a fair model."""
    generator = torch.Generator().manual_seed(0)

    def noise(side: int) -> Tensor:
        values = torch.randn(images, CLASSES + 1, side, side, generator=generator)
        return nn.functional.interpolate(values, size=(size, size), mode="bicubic")

    distance = torch.linspace(-1, 1, size).square()
    middle = 3 * (1 - 2 * (distance[:, None] + distance))  # organs are rarely at the image's border
    true = 2 * noise(6)
    true[:, 0] -= middle - 2
    return true.argmax(1).to(torch.uint8), 3 * (true + 0.4 * noise(28) + 0.05 * noise(size))


def seconds_of(work: Callable[[], Any], rounds: int) -> float:
    """Return the processor seconds of the fastest round."""
    times = []
    for _ in range(rounds + 1):  # the first warms up
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times[1:])


def measure(images: int, size: int, rounds: int) -> dict[str, Any]:
    """Return the processor seconds of every part, and the values that were computed."""
    torch.set_num_threads(1)
    truth, logits = make(images, size)
    samples, model, task = Made(truth), Known(logits), TASKS["segmentation"]
    fabric, names = open_fabric("cpu", 1, "32-true"), [f"class {c}" for c in range(CLASSES)]
    work = {
        name: lambda light=light: evaluate(fabric, task, model, samples, names, BATCH, 0, light=light)
        for name, light in zip(GOALS, (False, True), strict=True)
    }
    counts = np.random.default_rng(0).integers(0, 1000, (4, max(POOLED), CLASSES))
    pools = {n: (Counts(*counts[:, :n]), [f"patient {i // 10}" for i in range(n)]) for n in POOLED}
    return {
        "seconds": {name: seconds_of(run, rounds) for name, run in work.items()},
        "pooled": {str(n): seconds_of(lambda: table.by_group(keys), 1) for n, (table, keys) in pools.items()},  # noqa: B023
        "values": [[result.metrics, result.per_sample] for result in (run() for run in work.values())],
    }


def run(sources: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a version in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "measured.json"
        command = [sys.executable, __file__, "--images", str(options.images), "--size", str(options.size), "--write", str(out)]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": sources, "OMP_NUM_THREADS": "1"}, check=True)
        measured: dict[str, Any] = json.loads(out.read_text())
        return measured


def main() -> None:
    """Measure in turn and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sources", type=Path, help="the `src` of another version")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)  # measures this version alone
    options = parser.parse_args()
    if options.write:
        options.write.write_text(json.dumps(measure(options.images, options.size, rounds=2)))
        return
    versions = {"": str(Path("src").resolve())} | ({"other version: ": str(options.sources.resolve())} if options.sources else {})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in versions}
    for _ in range(options.runs):
        for name, sources in versions.items():
            runs[name].append(run(sources, options))
    if any(measured["values"] != runs[""][0]["values"] for measured in (run for side in runs.values() for run in side)):
        raise SystemExit("the two versions compute different values")
    worst = 0.0
    for part, goal in GOALS.items():
        speed = {name: options.images / min(run["seconds"][part] for run in side) for name, side in runs.items()}
        shown = ", ".join(f"{name}{value:.0f}" for name, value in speed.items())
        print(f"{part}: {shown} images per second of one core; expected at least {goal}")
        worst = max(worst, goal / speed[""])
    for count in map(str, POOLED):
        times = {name: 1000 * min(run["pooled"][count] for run in side) for name, side in runs.items()}
        shown = ", ".join(f"{name}{value:.1f} ms" for name, value in times.items())
        print(f"pooling {count} images by patient: {shown}")
    print(f"ratio: {worst:.2f}")


if __name__ == "__main__":
    main()
