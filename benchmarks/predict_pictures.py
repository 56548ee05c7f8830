"""Processor time of predicting pictures with overlays, relative to that without them.

Run it from the project's folder: `PYTHONPATH=src python benchmarks/predict_pictures.py`. The pictures are JPEG files of 4288 x 2848
pixels, as a fundus camera makes them, and the model is a U-Net of few channels at 64 x 64, so that reading, resizing and writing
take most of the time. The time of starting, measured with one picture, is taken off. `--sources` names the `src` of another
version, which is timed alternately.
"""

import tempfile
from dataclasses import asdict
from itertools import product
from math import inf
from pathlib import Path

import cv2
import numpy as np

from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.hashing import file_sha256
from medtransfer.records import Cell, ImageRule, ModelInfo, write_tensors
from medtransfer.tasks import TASKS
from versions import Seconds, named, parser, run

SIDES = (4288, 2848)  # pixels: width, height


def write_model(folder: Path) -> None:
    """Write a model of two classes with random weights."""
    cell, arguments = Cell("made", "unet", "simple", 1, "full", 0, "sample", "p", "a", "w", "d"), {"width": 4, "depth": 4}
    model = TASKS["segmentation"].model(build_encoder("unet", **arguments), 2)
    initialise(model, 0)
    folder.mkdir()
    write_tensors(folder / "weights.safetensors", model.state_dict())
    ModelInfo(
        cell=asdict(cell), key=cell.key, task="segmentation", classes=["a", "b"], thresholds=[], build="unet", arguments=arguments,
        decoder=None, input=[64, 64], size=[64, 64], channels=3, mean=[0.5] * 3, std=[0.2] * 3,
        image_rule=asdict(ImageRule("keep")), parts=["encoder", "decoder"], kind="supervised", lineage=[], licence="",
        git_revision="none", weights=file_sha256(folder / "weights.safetensors"),
    ).write(folder / "model.json")  # fmt: skip


def write_pictures(folder: Path, number: int) -> None:
    """Write pictures of smooth colours."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(number):
        small = rng.integers(0, 256, (24, 36, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index:03d}.jpg"), cv2.resize(small, SIDES, interpolation=cv2.INTER_CUBIC))


def main() -> None:
    """Predict in turn, and print the seconds per picture."""
    parsed = parser(__doc__)
    parsed.add_argument("--pictures", type=int, default=8)
    chosen = parsed.parse_args()
    with tempfile.TemporaryDirectory() as place:
        write_model(Path(place) / "model")
        write_pictures(Path(place) / "many", chosen.pictures + 1)
        write_pictures(Path(place) / "one", 1)
        sides = list(product(named(chosen), ("true", "false")))
        best = {(*side, images): Seconds(inf, inf) for side in sides for images in ("one", "many")}
        for _ in range(chosen.runs):
            for (version, overlays, images), before in best.items():
                options = ("--images", images, "--out", "out", "--overlays", overlays, "--force")
                seconds = run(place, named(chosen)[version], ("predict", "--model", "model", *options))
                best[version, overlays, images] = Seconds(*map(min, before, seconds))
    each = {
        side: Seconds(*((many - one) / chosen.pictures for many, one in zip(best[*side, "many"], best[*side, "one"], strict=True)))
        for side in sides
    }
    for (version, overlays), seconds in each.items():
        what = "with overlays" if overlays == "true" else "without"
        print(f"{version}{what} {seconds.processors:.2f} s of a processor ({seconds.wall:.2f} s) per picture")
    print(f"ratio: {each['', 'true'].processors / each['', 'false'].processors:.2f}")


if __name__ == "__main__":
    main()
