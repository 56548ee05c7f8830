"""Read APTOS 2019: fundus photographs with grades of diabetic retinopathy.

Source: https://www.kaggle.com/competitions/aptos2019-blindness-detection. Citation: `CITATION` below. One raw example:

    train.csv                        id_code,diagnosis
                                     000c1434d8d7,2
    train_images/000c1434d8d7.png    RGB, several sizes

Official count: 3,662 labelled images. The labels of the test images are hidden, so draw a split: figures on it cannot be compared
with the competition's. The patients are unknown. Options are those of `table.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.contract import ALL, Scan
from medtransfer.prepare.readers.table import scan_table

CITATION = "Asia Pacific Tele-Ophthalmology Society, APTOS 2019 Blindness Detection, Kaggle, 2019"
DEFAULTS: dict[str, Any] = {
    "table": "train.csv", "image": "train_images/{id_code}.png", "task": "ordinal", "column": "diagnosis",
    "labels": {0: "no DR", 1: "mild", 2: "moderate", 3: "severe", 4: "proliferative DR"}, "augmentation": "rotate-flip",
    "expected": {ALL: 3662}, "citation": CITATION,
}  # fmt: skip


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their grades; see `scan_table`."""
    return scan_table(root, size, options, reader="aptos", defaults=DEFAULTS)
