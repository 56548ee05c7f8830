"""Time our loop and a bare loop over the same steps, alternately, and compare them."""

import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import torch

from medtransfer.config import Params, load_params

GOAL = 0.97
DIFFERENT = 8  # batches of a bare loop in memory; more steps take them again


def parser(text: str | None, batch: int, steps: int, rounds: int) -> ArgumentParser:
    """Return a parser of the options that the benchmarks of training share."""
    options = ArgumentParser(description=text)
    options.add_argument("--batch", type=int, default=batch, help="images per optimiser step")
    options.add_argument("--steps", type=int, default=steps, help="optimiser steps per round and side")
    options.add_argument("--rounds", type=int, default=rounds, help="measured rounds; one more is not counted")
    options.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    options.add_argument("--threads", type=int, help="threads of the model; default: all cores")
    options.add_argument("--workers", type=int, default=0, help="loader processes")
    options.add_argument("--accelerator", default="auto")
    options.add_argument("--precision", default="32-true")
    options.add_argument("--compile", action="store_true", help="compile the model, on both sides; on a GPU only")
    options.add_argument("--small", action="store_true", help="the encoder of params.yaml, not the published one")
    return options


def params(small: bool) -> Params:
    """Read the params: the published recipe, or the small one of the sample data."""
    files = ["params.yaml"] if small else ["params.yaml", "configs/paper.yaml"]
    return load_params([Path(file) for file in files], {})


class Rounds:
    """Times our side, then the bare side, round after round; the first round warms up."""

    def __init__(self, images: int, device: torch.device) -> None:
        """Start with our side's first round.

        Args:
            images: that each side trains on in a round.
            device: that is waited for before a clock is read.
        """
        self.images, self.device = images, device
        self.ours: list[tuple[float, float]] = []
        self.bare: list[tuple[float, float]] = []
        self._begin = self._now()

    def change(self, bare: Callable[[], None] | None) -> None:
        """End a round of ours, run the bare one, and start ours again."""
        self.ours.append(self._since())
        if bare is not None:
            self._begin = self._now()
            bare()
            self.bare.append(self._since())
        self._begin = self._now()

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.process_time()

    def _since(self) -> tuple[float, float]:
        wall, processor = self._now()
        return wall - self._begin[0], processor - self._begin[1]

    def milliseconds(self, seconds: list[tuple[float, float]]) -> float:
        """Return the best round's milliseconds per image: other work on the machine only adds to it."""
        return 1000 * min(wall for wall, _ in seconds[1:]) / self.images

    def show(self, ours: str, bare: str) -> float:
        """Print every round and both sides, and return our speed over the bare speed, by the best round of each."""
        for number, (a, b) in enumerate(zip(self.ours[1:], self.bare[1:], strict=True), start=1):
            print(f"  round {number}: {a[0]:.3f} s ({a[1]:.3f} s of processors) against {b[0]:.3f} s ({b[1]:.3f} s)")
        for name, seconds in ((ours, self.ours), (bare, self.bare)):
            print(f"{name}: {self.milliseconds(seconds):.1f} ms per image")
        wall, processor = (min(b[kind] for b in self.bare[1:]) / min(a[kind] for a in self.ours[1:]) for kind in (0, 1))
        median = statistics.median(b[0] / a[0] for a, b in zip(self.ours[1:], self.bare[1:], strict=True))
        print(
            f"speed over bare speed: {wall:.3f} by the best rounds, {median:.3f} by the median of the rounds, {processor:.3f} by "
            f"the best rounds' processor time; goal {GOAL}"
        )
        return wall


def images_a_second(batches: Callable[[], int], passes: int = 3) -> float:
    """Return the images per second of the fastest pass over a data path, on one core.

    Args:
        batches: runs a pass and returns the number of its images.
        passes: how many.
    """
    threads, best = torch.get_num_threads(), 0.0
    torch.set_num_threads(1)
    for _ in range(passes):
        begin = time.perf_counter()
        count = batches()
        best = max(best, count / (time.perf_counter() - begin))
    torch.set_num_threads(threads)
    return best
