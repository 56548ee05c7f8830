"""Start-up and memory of a pretraining on a source of ImageNet's size: 1.28 million pictures in shards, or as files.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/million_pictures.py`. The shards hold few pictures, which their
indexes name many times, so names, classes, offsets and the order are as many as ImageNet's, and the disk need not hold 140 GB. A
process of its own opens the source as a pretraining does: imports, digest, lists of both splits, order of an epoch, and the
first batch of two loader processes. `--files N` makes N files of 1.28 million instead; the seconds that grow with their number are
scaled up. The first pass over the contents, which takes as long as the disk needs to read them, is done before.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from argparse import ArgumentParser
from multiprocessing import active_children
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PICTURES, CLASSES, SHARDS = 1_281_167, 1000, 128
SECONDS, MEMORY = 20.0, 1024  # goals: seconds to the first batch, MB of a process


def main() -> None:
    """Make the source, open it in a process of its own, and compare with the goals."""
    options = ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, help="make so many files instead of shards")
    options.add_argument("--folder", type=Path, help="where to make the source; default: a temporary folder")
    options.add_argument("--open", type=Path, help="open this source, and print what it takes")
    chosen = options.parse_args()
    if chosen.open:
        print(json.dumps(open_source(chosen.open)))
        return
    with TemporaryDirectory(dir=chosen.folder) as folder:
        root = Path(folder, "source")
        write_files(root, chosen.files) if chosen.files else write_shards(root)
        paths = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}  # noqa: PTH100
        command = [sys.executable, __file__, "--open", str(root)]
        for _ in range(2):  # the first reads contents and remembers their digests, or writes indexes
            begin = time.perf_counter()
            done = subprocess.run(command, cwd=folder, env=paths, check=True, stdout=subprocess.PIPE, text=True)
            whole = time.perf_counter() - begin
    measured = json.loads(done.stdout.splitlines()[-1])
    scale = PICTURES / measured["pictures"]
    grown = {name: seconds * scale for name, seconds in measured["seconds"].items() if name not in {"imports", "first batch"}}
    for name, seconds in measured["seconds"].items():
        print(f"{name}: {seconds:.2f} s" + (f", {grown[name]:.1f} s for {PICTURES}" if name in grown and scale > 1.001 else ""))
    total = sum(grown.values()) + sum(measured["seconds"][name] for name in ("imports", "first batch"))
    print(f"process of {measured['pictures']} pictures: {whole:.1f} s, at most {measured['rank']:.0f} MB after imports' "
          f"{measured['imports']:.0f} MB; own memory of each loader process: {measured['workers']:.0f} MB")  # fmt: skip
    memory = measured["imports"] + (measured["rank"] - measured["imports"]) * scale
    print(f"to the first batch of {PICTURES}: {total:.1f} s (goal {SECONDS:.0f}), {memory:.0f} MB (goal {MEMORY})")
    print(f"ratio: {min(SECONDS / total, MEMORY / memory):.3f}")


def open_source(root: Path) -> dict[str, object]:
    """Open a source up to its first batch, and return seconds, and megabytes of this process and of its loader processes."""
    marks = [time.perf_counter()]
    from medtransfer.data.pretraining_images import SourceImages
    from medtransfer.data.sampling import EpochBatches, loader
    from medtransfer.data.source_folders import source_fingerprint
    from medtransfer.pretrain import training  # noqa: F401  # what a pretraining loads

    imports = peak()
    marks.append(time.perf_counter())
    source_fingerprint(root, "classes")
    marks.append(time.perf_counter())
    options: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "randaugment": None, "seed": 0}
    images = [SourceImages(root, split, 64, train=split == "train", **options) for split in ("train", "val")]
    marks.append(time.perf_counter())
    batches = EpochBatches(len(images[0]), 64, seed=0, shuffle=True, drop_last=True)
    next(iter(batches))
    marks.append(time.perf_counter())
    stream = iter(loader(images[0], batches, 2, pin=False))
    next(stream)
    marks.append(time.perf_counter())
    workers = max(own_memory(child.pid) for child in active_children() if child.pid)
    names = ("imports", "digest of the source", "lists of pictures", "order of an epoch", "first batch")
    seconds = {name: after - before for name, before, after in zip(names, marks[:-1], marks[1:], strict=True)}
    return {"pictures": len(images[0]), "seconds": seconds, "imports": imports, "rank": peak(), "workers": workers}


def peak() -> float:
    """Return the largest memory of this process until now, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def own_memory(process: int) -> float:
    """Return the memory of a process that it shares with no other, MB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def write_shards(root: Path) -> None:
    """Write shards of ten pictures each, whose indexes name ten thousand."""
    import numpy as np

    from medtransfer.data.shard_formats import FORMATS
    from medtransfer.data.shards import index_shard
    from medtransfer.records.shard_index import ShardIndex, index_path

    for split, count, shards in (("train", PICTURES, SHARDS), ("val", 50_000, 5)):
        numbers = np.array_split(np.arange(count), shards)
        for shard, part in enumerate(numbers):
            path = root / split / f"shard-{shard:06d}.tar"
            path.parent.mkdir(parents=True, exist_ok=True)
            FORMATS[".tar"].write(path, ((f"n{number:08d}/{number}.JPEG", jpeg(number)) for number in range(10)),
                                  [f"n{number:08d}" for number in range(10)])  # fmt: skip
            stored = index_shard(path)
            which = part % len(stored.names)
            names = [f"n{number * CLASSES // count:08d}/n{number * CLASSES // count:08d}_{number}.JPEG" for number in part]
            digests = np.frombuffer(b"".join(hashlib.sha256(name.encode()).digest() for name in names), np.uint8)
            index = ShardIndex(np.array([name.encode() for name in names]), stored.offsets[which], stored.sizes[which],
                               digests.reshape(-1, 32), stored.state)  # fmt: skip
            index.write(index_path(path))


def write_files(root: Path, count: int) -> None:
    """Write small files in as many classes as ImageNet has, and five per class for validation."""
    content = jpeg(0, (8, 8))
    for split, total in (("train", count), ("val", 5 * CLASSES)):
        for number in range(total):
            name = f"n{number * CLASSES // total:08d}"
            if number * CLASSES % total < CLASSES:
                (root / split / name).mkdir(parents=True, exist_ok=True)
            (root / split / name / f"{name}_{number}.JPEG").write_bytes(content)


def jpeg(seed: int, size: tuple[int, int] = (375, 500)) -> bytes:
    """Return a JPEG file."""
    import io

    import numpy as np
    from PIL import Image

    from inputs import smooth

    file = io.BytesIO()
    Image.fromarray(smooth(np.random.default_rng(seed), (*size, 3))).save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    main()
