"""Speed of a source in shards relative to the same pictures as files, on made-up JPEG files of ImageNet's usual size.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/sources.py`. Both sides read, decode, crop and collate the same
batches in the same random order in this process, alternately. Files are in the page cache of the system, where they are fastest.
"""

from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

from inputs import write_pictures
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.encoders.normalisation import IMAGENET_MEAN, IMAGENET_STD
from medtransfer.pretrain import pack


def main() -> None:
    """Time an epoch of each side, round after round, and compare the best ones."""
    options = ArgumentParser(description=__doc__)
    options.add_argument("--pictures", type=int, default=600, help="pictures of an epoch")
    options.add_argument("--rounds", type=int, default=5, help="measured epochs of each side; one more is not counted")
    options.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        files = write_pictures(Path(folder, "files"), chosen.pictures)
        roots = {"files": files} | {form: pack.run(files, Path(folder, form), form, 16) for form in pack.PACKED}
        images = {name: open_images(root, chosen.size) for name, root in roots.items()}
        seconds: dict[str, list[float]] = {name: [] for name in roots}
        for epoch in range(chosen.rounds + 1):
            for name in roots:
                seconds[name].append(pass_over(images[name], epoch))
    speeds = {name: chosen.pictures / min(times[1:]) for name, times in seconds.items()}
    for name, speed in speeds.items():
        print(f"{name}: {speed:.1f} images per second, {speed / speeds['files']:.3f} of the files")
    print(f"ratio: {min(speeds[form] for form in pack.PACKED) / speeds['files']:.3f}")


def open_images(root: Path, size: int) -> SourceImages:
    """Open the training pictures of a source, augmented as the origin `simple` does."""
    return SourceImages(root, "train", size, mean=IMAGENET_MEAN, std=IMAGENET_STD, train=True, randaugment=None, seed=0)


def pass_over(images: SourceImages, epoch: int) -> float:
    """Read an epoch and return the seconds."""
    batches = EpochBatches(len(images), 32, seed=0, shuffle=True, drop_last=False)
    batches.set_epoch(epoch)
    images.set_epoch(epoch)
    begin = perf_counter()
    for _ in loader(images, batches, 0, pin=False):
        pass
    return perf_counter() - begin


if __name__ == "__main__":
    main()
