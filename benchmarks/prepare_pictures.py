"""Time of preparing pictures on all cores, relative to that on one.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/prepare_pictures.py`. The pictures are JPEG files of 2000 x 1500
pixels with PNG masks, which become 224 x 224. `--sources` names the `src` of another version, which is timed alternately. All must
write the same target.
"""

import os
import tempfile
from math import inf
from pathlib import Path

import cv2
import numpy as np

from versions import Seconds, named, parser, run

SIDES = (2000, 1500)  # pixels: width, height


def write_dataset(root: Path, number: int) -> None:
    """Write pictures of smooth colours with a little noise, and masks of one box."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(number):
        small = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        smooth = cv2.resize(small, SIDES, interpolation=cv2.INTER_CUBIC)
        noise = rng.integers(0, 12, smooth.shape)
        cv2.imwrite(str(root / f"images/{index:03d}.jpg"), np.minimum(smooth + noise, 255).astype(np.uint8))
        mask = np.zeros(SIDES[::-1], np.uint8)
        top, left = rng.integers(0, 800, 2)
        mask[top : top + 500, left : left + 600] = 255
        cv2.imwrite(str(root / f"masks/{index:03d}.png"), mask)


def main() -> None:
    """Prepare in turn, and print the seconds."""
    parsed = parser(__doc__)
    parsed.add_argument("--pictures", type=int, default=120)
    chosen = parsed.parse_args()
    cores = os.sched_getaffinity(0)
    sides = [(version, used) for version in named(chosen) for used in (len(cores), 1)]
    best = dict.fromkeys(sides, Seconds(inf, inf))
    written = {}
    with tempfile.TemporaryDirectory() as place:
        write_dataset(Path(place) / "raw", chosen.pictures)
        for _ in range(chosen.runs):
            for version, used in sides:
                os.sched_setaffinity(0, sorted(cores)[:used])
                seconds = run(place, named(chosen)[version], ("prepare", "--root", "raw", "--size", "224,224", "--force"))
                os.sched_setaffinity(0, cores)
                best[version, used] = Seconds(*map(min, best[version, used], seconds))
                target = Path(place) / "data/prepared/raw"
                written[version, used] = [(target / name).read_bytes() for name in ("images.npy", "masks.npy", "index.csv")]
    if any(files != written["", 1] for files in written.values()):
        raise SystemExit("the targets differ")
    for (version, used), seconds in best.items():
        print(f"{version}{used} cores: {seconds.wall:.1f} s, {seconds.processors:.1f} s of processors")
    print(f"ratio: {best['', len(cores)].wall / best['', 1].wall:.2f}")


if __name__ == "__main__":
    main()
