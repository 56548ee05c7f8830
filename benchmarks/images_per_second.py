"""Images per second that one core reads and augments, for pretraining and fine-tuning, relative to another version's.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/images_per_second.py`. Pretraining reads made-up JPEG files of
ImageNet's usual size, 500 x 375 pixels and 110 kB, by the transforms of the origins `simple` and `advanced`, with each of
`pretrain.resampling`; fine-tuning augments windows of a prepared target for inputs of 224 pixels. Each side is a process of its
own, and the sides take turns. What counts is the processor time of a loader's worker, and beside it that with the model's input
made of its batches on the same core, which a GPU does otherwise. `--sources` names the `src` of another version; without one the
sides are the two ways of resampling. The ratio is the lower one of the two transforms of pretraining.
"""

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PICTURES, BATCH, SIZE = 96, 32, 224
NORM: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "seed": 0}
TRANSFORMS = {"simple": None, "advanced": {"ops": 2, "magnitude": 9, "scale": 30}}
AUGMENTATIONS = ("rotate-flip", "rotate-crop")
GOAL = 1.5


def write_inputs(place: Path) -> None:
    """Write the pictures and the prepared targets."""
    from inputs import write_pictures, write_target

    write_pictures(place / "pictures", PICTURES)
    for name in AUGMENTATIONS:
        write_target(place / name, PICTURES, SIZE, name)


def datasets(place: Path) -> Iterable[tuple[str, Any]]:
    """Yield the datasets of this version by name; an older one has a single way of resampling."""
    from medtransfer.data.pretraining_images import SourceImages
    from medtransfer.data.target_samples import TargetSamples
    from medtransfer.records import PreparedTarget

    ways = ("torch", "pillow") if "resampling" in inspect.signature(SourceImages).parameters else (None,)
    for name, randaugment in TRANSFORMS.items():
        for way in ways:
            chosen: dict[str, Any] = {"resampling": way} if way else {}
            images = SourceImages(place / "pictures", "train", SIZE, train=True, randaugment=randaugment, **NORM, **chosen)
            yield f"{name}, {way or 'pillow'}", images
    for name in AUGMENTATIONS:
        yield name, TargetSamples(PreparedTarget.open(place / name), "train", augment=True, **NORM)


def to_input(pixels: Any) -> Any:
    """Make the model's input of a batch, channels last, as this version does."""
    import torch

    from medtransfer.data import pixels as module

    if not hasattr(module, "normalise_pixels"):
        return pixels.contiguous(memory_format=torch.channels_last)  # it is normalised already
    return module.normalise_pixels(pixels, NORM["mean"], NORM["std"])


def fastest(run: Callable[[], Any], passes: int) -> float:
    """Return the processor seconds of the fastest of some passes."""
    seconds = []
    for _ in range(passes):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return min(seconds)


def measure(place: Path, passes: int) -> dict[str, list[float]]:
    """Return the seconds per image of the loader, those with the model's input, and the bytes of a batch, by dataset."""
    from medtransfer.data.sampling import EpochBatches, loader, worker_init

    worker_init(0)
    found = {}
    for name, images in datasets(place):
        batches = loader(images, EpochBatches(len(images), BATCH, seed=0, shuffle=True, drop_last=True), 0, pin=False)
        loading = fastest(lambda batches=batches: deque(batches, maxlen=0), passes) / (len(batches) * BATCH)  # type: ignore[misc]
        pixels = next(iter(batches))[0]
        making = fastest(lambda pixels=pixels: to_input(pixels), 4 * passes) / BATCH  # type: ignore[misc]
        found[name] = [loading, loading + making, pixels.numel() * pixels.element_size()]
    return found


def run(sources: Path, place: Path, passes: int) -> dict[str, list[float]]:
    """Measure a version in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(sources), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", str(place), "--passes", str(passes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def best(rounds: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Return the lowest numbers of all rounds by dataset: other work on the machine only adds to them."""
    return {name: [min(values) for values in zip(*(one[name] for one in rounds), strict=True)] for name in rounds[0]}


def compare(ours: dict[str, list[float]], other: dict[str, list[float]], label: str) -> float:
    """Print both sides, and return the lower speed-up of the two transforms with PyTorch's resampling."""
    ratios = {}
    for name, (loading, making, size) in ours.items():
        base = other.get(name) or other[f"{name.split(', ')[0]}, pillow"]
        ratios[name] = base[0] / loading
        print(
            f"{name}: {1 / loading:.0f} images/s per core against {1 / base[0]:.0f} {label}, {ratios[name]:.2f} times; with the "
            f"model's input {1 / making:.0f} against {1 / base[1]:.0f}; {size / 1e6:.2f} MB per batch of {BATCH} against "
            f"{base[2] / 1e6:.2f} MB"
        )
    return min(ratios[f"{name}, torch"] for name in TRANSFORMS)


def main() -> None:
    """Write the inputs, measure all sides in turn, and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--passes", type=int, default=3, help="passes over the images per round; the fastest counts")
    options.add_argument("--sources", type=Path, help="the `src` of another version")
    options.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, chosen.passes)))
        return
    sides = [Path("src").resolve()] + ([chosen.sources.resolve()] if chosen.sources else [])
    rounds: dict[Path, list[dict[str, list[float]]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_inputs(place)
        sizes = [file.stat().st_size for file in (place / "pictures" / "train").rglob("*.JPEG")]
        print(f"{len(sizes)} pictures of {sum(sizes) / len(sizes) / 1000:.0f} kB, inputs of {SIZE} pixels", flush=True)
        for _ in range(chosen.rounds):
            for side in sides:
                rounds[side].append(run(side, place, chosen.passes))
    ours = best(rounds[sides[0]])
    other = best(rounds[sides[1]]) if chosen.sources else {name: values for name, values in ours.items() if "torch" not in name}
    ratio = compare(ours, other, "of the other version" if chosen.sources else "by Pillow or of its own")
    print(f"goal: {GOAL}")
    print(f"ratio: {ratio:.2f}")


if __name__ == "__main__":
    main()
