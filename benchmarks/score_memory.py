"""Peak memory of scoring many images, relative to that of scoring few.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/score_memory.py`. Each measurement is a process of its own that
scores with a small U-Net, writes the .npz, and then reports its peak of resident memory, libraries and the pages of mapped files
included. There are two kinds of target: `slices`, grey images as in ACDC, and `windows`, cut on the fly from few large colour
images as in IDRiD (119 per image, overlapping). The worse ratio counts.
"""

import multiprocessing
import resource
import tempfile
from argparse import ArgumentParser, Namespace
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.indicators.contract import Options, ViewSettings
from medtransfer.indicators.robustness.measure import Robustness
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.streamed_pass import measure
from medtransfer.records import INDEX_COLUMNS, PreparedTarget, TargetInfo, write_values

GOAL = 1.2
KINDS = ("slices", "windows")
CONTRACT = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def boxes(kind: str, count: int, size: int) -> tuple[tuple[int, int, int, int], list[tuple[int, int, int, int, int]]]:
    """Return the shape of the array (rows, h, w, C) and the windows (row, top, left, height, width)."""
    if kind == "slices":
        return (count, size, size, 1), [(row, 0, 0, size, size) for row in range(count)]
    places = list(product(range(0, 3 * size + 1, size // 2), range(0, 8 * size + 1, size // 2)))  # 7 * 17 in (4, 9) * size
    found = [(number // len(places), *places[number % len(places)], size, size) for number in range(count)]
    return (found[-1][0] + 1, 4 * size, 9 * size, 3), found


def write_target(folder: Path, kind: str, count: int, size: int) -> None:
    """Write a target of noise, one row at a time."""
    folder.mkdir(parents=True)
    shape, windows = boxes(kind, count, size)
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.uint8, shape[:3])
    for row in range(shape[0]):
        images[row] = rng.integers(0, 256, shape[1:], dtype=np.uint8)
        masks[row] = 0
    lines = [(number, box[0], "train", f"p{box[0]}", f"f{box[0]}", 0, *box[1:]) for number, box in enumerate(windows)]
    pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(folder / "index.csv", index=False)
    TargetInfo(
        target=kind, reader="made-up", task="segmentation", citation="none", classes=["one"],
        channels=1 if kind == "slices" else 3, input=[size, size],
        augmentation="rotate-flip", scaling="none", counts={"train": count}, expected={}, subset=False, sources={}, arrays={},
        settings={},
    ).write(folder / "dataset.json")  # fmt: skip


def score(folder: Path, batch: int, threads: int) -> None:
    """Score a target at every setting, and write the distances to its folder."""
    torch.set_num_threads(threads)
    encoder = build_encoder("unet", width=8, depth=5)
    initialise(encoder, 0)
    settings = ViewSettings("train", None, 0, 1, "random", "32-true")
    options = Options(RobustnessSetting("cosine", 0.5, -2, "frozen"), (0.0, 0.25, 0.5, 0.75, 1.0), pixels=2000)
    measured = measure(
        [Robustness()], encoder, PreparedTarget.open(folder), settings, options, contract=CONTRACT, batch_size=batch,
        device=torch.device("cpu"), autocast=nullcontext, label=folder.name,
    )["robustness"]  # fmt: skip
    assert len(measured.scores) == 4 * 2 * 5 * 5
    write_values(folder / "epoch-000.npz", measured.images, measured.per_sample)


def in_child(folder: Path, batch: int, threads: int, answer: "multiprocessing.queues.Queue[int]") -> None:
    """Score, and send back this process's peak memory in KiB."""
    score(folder, batch, threads)
    status = Path("/proc/self/status")  # ru_maxrss would start with the memory of the process that started this one
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    answer.put(peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak(folder: Path, options: Namespace) -> float:
    """Return the peak memory of scoring a target in a fresh process, in MiB."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    child = context.Process(target=in_child, args=(folder, options.batch, options.threads, answer))
    child.start()
    kibibytes = answer.get()
    child.join()
    return kibibytes / 1024


def main() -> None:
    """Measure both kinds of target and print the worse ratio."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs=2, default=[500, 5000], help="of the small and of the large target")
    parser.add_argument("--size", type=int, default=64, help="side of the images and windows, in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as place:
        for kind in KINDS:
            peaks = []
            for count in options.images:
                folder = Path(place) / f"{kind}-{count}"
                write_target(folder, kind, count, options.size)
                peaks.append(peak(folder, options))
                stored = (folder / "images.npy").stat().st_size / 2**20
                print(f"{kind}: {count} images of {options.size} ({stored:.0f} MiB stored): peak {peaks[-1]:.0f} MiB", flush=True)
            ratios.append(peaks[1] / peaks[0])
    print(f"slices {ratios[0]:.3f}, windows {ratios[1]:.3f}, goal {GOAL}")
    print(f"ratio: {max(ratios):.3f}")


if __name__ == "__main__":
    main()
