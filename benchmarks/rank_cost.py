"""Time of ranking a candidate by every default indicator, relative to two bare forward passes over the same images.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/rank_cost.py`. Ours is the whole pass of `medtransfer rank`
after the encoder is loaded: reading and jittering the images, two forward passes (one pair of views, the first of which also
gives the features), all indicators, and their standard errors. Bare is the same encoder on the same number of tensors, twice,
under torch.no_grad, with the results dropped. The sides take turns; the best round of each counts.
"""

import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from inputs import write_target
from medtransfer.config import load_params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.indicators.registry import find_indicators
from medtransfer.indicators.streamed_pass import measure
from medtransfer.rank.measurement import choose_level, scoring
from medtransfer.records import PreparedTarget
from medtransfer.score.options import options_of, views_of
from medtransfer.training.memory import keep_freed_memory

GOAL = 1.5
MEAN, STD = (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)


@torch.no_grad()
def forward(encoder: Encoder, images: torch.Tensor, batch: int) -> None:
    """Run two forward passes and nothing else."""
    for _ in range(2):
        for part in images.split(batch):
            encoder(part)


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def rank(encoder: Encoder, target: PreparedTarget, names: list[str], batch: int) -> None:
    """Measure the indicators as `medtransfer rank` does, with one pair of views."""
    params = load_params([Path("params.yaml")], {"rank.repeats": 1})
    section = scoring(params)
    section = section.model_copy(update={"level": choose_level(encoder, params.rank.stride, params.rank.level)})
    measure(
        find_indicators(names, "rank.indicators"), encoder, target, views_of(section), options_of(section),
        contract={"mean": MEAN, "std": STD}, batch_size=batch, device=torch.device("cpu"), autocast=nullcontext, label="rank",
    )  # fmt: skip


def main() -> None:
    """Measure all indicators together, then each alone, and print the ratio of all."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--each", action="store_true", help="also time every indicator alone")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    published = load_params([Path("params.yaml"), Path("configs/paper.yaml")], {}).pretrain.encoders["resnet50"].arguments
    encoder = build_encoder("resnet50", **published).eval()
    initialise(encoder, 0)
    encoder = encoder.to(memory_format=torch.channels_last)
    images = torch.rand(options.images, 3, options.size, options.size).contiguous(memory_format=torch.channels_last)
    names = load_params([Path("params.yaml")], {}).rank.indicators
    with tempfile.TemporaryDirectory() as folder:
        target = write_target(Path(folder) / "made", options.images, options.size, "rotate-flip")
        sets = [names, *([name] for name in names if options.each)]
        for chosen in sets:
            times = [
                (seconds_of(lambda: rank(encoder, target, chosen, options.batch)),  # noqa: B023
                 seconds_of(lambda: forward(encoder, images, options.batch)))
                for _ in range(options.rounds)
            ]  # fmt: skip
            ours, bare = (min(side) for side in zip(*times, strict=True))
            label = "all" if len(chosen) > 1 else chosen[0]
            print(f"{label}: {ours:.2f} s against {bare:.2f} s of two bare passes over {options.images} images", flush=True)
            if len(chosen) > 1:
                ratio = ours / bare
            else:
                print(f"  {chosen[0]} alone: ratio {ours / bare:.3f}", flush=True)
    print(f"ratio: {ratio:.3f} (goal {GOAL})")


if __name__ == "__main__":
    main()
