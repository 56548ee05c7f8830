"""Time of measuring robustness at all settings, relative to two bare forward passes over the same views.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/score_grid.py`. Ours is everything from the tensors of the
views on: forward passes, pooling, every distance at every level, pooled and flattened, and robustness at 100 margins. Bare is the
same encoder on the same tensors (both channels-last), queries and keys, under torch.no_grad, with the results dropped. Both keep
freed memory, as scoring does, and take turns; the best round of each counts, since other work on the machine only adds to it.
The time of making the views is printed, too.
"""

import statistics
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from inputs import write_target
from medtransfer.config import load_params
from medtransfer.data.views import TwoViews, ViewBatch
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.indicators.contract import Context, Options
from medtransfer.indicators.robustness.measure import Robustness
from medtransfer.indicators.robustness.negatives import negatives
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.streamed_pass import Inputs, feed
from medtransfer.training.memory import keep_freed_memory

GOALS = {"resnet50": 1.05, "unet": 1.10}
CPU = torch.device("cpu")
MARGINS = [number / 99 for number in range(100)]
MEAN, STD = (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)


def make_encoder(name: str, **changed: Any) -> Encoder:
    """Build an encoder with the published arguments, some of them changed, and random weights."""
    published = load_params([Path("params.yaml"), Path("configs/paper.yaml")], {}).pretrain.encoders[name].arguments
    encoder = build_encoder(name, **{**published, **changed})
    initialise(encoder, 0)
    return encoder.eval()


def make_batches(images: int, size: int, batch: int, device: torch.device) -> tuple[list[ViewBatch], list[str]]:
    """Make all views of so many images, which takes 2 * images * size^2 * 12 bytes, and print how long it takes."""
    with tempfile.TemporaryDirectory() as place:
        target = write_target(Path(place) / "made", images, size, "rotate-flip")
        views = TwoViews(target, "train", mean=MEAN, std=STD, seed=0, max_images=None, device=device)
        plan = negatives(views.groups, "random", 0)
        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            made = sum(len(step.queries) + len(step.keys) for step in views.batches(plan.order, plan.negative, batch, 0))
            seconds.append((time.perf_counter() - begin) / made)
        print(f"making a view at {size}: {1000 * min(seconds):.2f} ms per image")
        return list(views.batches(plan.order, plan.negative, batch, 0)), views.ids


@torch.no_grad()
def forward(encoder: Encoder, batches: list[ViewBatch]) -> None:
    """Run two forward passes and nothing else."""
    for batch in batches:
        encoder(batch.queries)
        encoder(batch.keys[: len(batch.queries)])


def score(encoder: Encoder, batches: list[ViewBatch], ids: list[str]) -> None:
    """Measure robustness from the views, as the stage does."""
    options = Options(RobustnessSetting("cosine", 0.5, -1, "frozen"), tuple(MARGINS), pixels=2000)
    context = Context(ids, ids, 2, 0, 1, (), options)
    inputs = (Inputs(batch.positions.numpy(), 0, batch, None, None) for batch in batches)
    measured = feed([Robustness()], context, encoder, inputs, nullcontext)["robustness"]
    assert len(measured.scores) == 4 * 2 * len(encoder.levels) * len(MARGINS)


def seconds_of(work: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """Return the seconds that some work takes by the clock, and those of the processors."""
    begin, busy = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin, time.process_time() - busy


def measure(encoder: Encoder, images: int, size: int, batch: int, rounds: int, device: torch.device = CPU) -> float:
    """Print how long both sides take, and return their ratio."""
    keep_freed_memory()
    batches, ids = make_batches(images, size, batch, device)
    found = []
    for _ in range(rounds + 1):
        sides = (lambda: score(encoder, batches, ids), lambda: forward(encoder, batches))
        found.append(tuple(seconds_of(work, device) for work in sides))
    ours, bare = (1000 * min(side[0] for side in sides) / images for sides in zip(*found[1:], strict=True))  # the first warms up
    median = statistics.median(a[0] / b[0] for a, b in found[1:])
    busy = min(a[1] for a, _ in found[1:]) / min(b[1] for _, b in found[1:])
    print(
        f"{encoder.name} at {size}, {images} images in batches of {batch}: {ours:.3f} ms per image against {bare:.3f} of two "
        f"forward passes, ratio {ours / bare:.3f} ({median:.3f} by the median of the rounds, {busy:.3f} by processor time, "
        f"goal {GOALS[encoder.name]})"
    )
    return ours / bare


def parse() -> Namespace:
    """Read the options."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs=2, default=[8, 512], help="images for ResNet50 and for the U-Net")
    parser.add_argument("--sizes", type=int, nargs=2, default=[224, 64], help="sides of the images for both, in pixels")
    parser.add_argument("--batches", type=int, nargs=2, default=[8, 64], help="batch sizes of both")
    parser.add_argument("--rounds", type=int, nargs=2, default=[20, 15], help="rounds of both; one more warms up")
    parser.add_argument("--threads", type=int, help="default: all cores")
    return parser.parse_args()


def main() -> None:
    """Measure both encoders and print the worse ratio."""
    options = parse()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    print(f"{torch.get_num_threads()} threads, freed memory {'kept' if keep_freed_memory() else 'given back'}")
    encoders = (make_encoder("resnet50"), make_encoder("unet", width=16))
    lines = zip(encoders, options.images, options.sizes, options.batches, options.rounds, strict=True)
    print(f"ratio: {max([measure(*line) for line in lines]):.3f}")


if __name__ == "__main__":
    main()
