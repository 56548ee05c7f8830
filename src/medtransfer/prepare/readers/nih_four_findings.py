"""Read ChestX-ray14 images with Google's labels of four findings by several radiologists.

Source: https://cloud.google.com/healthcare-api/docs/resources/public-datasets/nih-chest. Citation: `CITATION` below. One
raw example:

    validation_labels.csv, test_labels.csv    Image Index,Patient ID,…,Fracture,Pneumothorax,Airspace opacity,Nodule or mass
                                              00000211_006.png,211,…,NO,NO,YES,NO
    images/00000211_006.png                   as in ChestX-ray14

As in Truong et al., images with several findings are left out, and those without any are the class `other`; the file called
validation is the training split. The labels of single readers have the columns `Image ID` and `Nodule/mass` and the value HEDGE:
set `image`, `columns`, `uncertain_values: [HEDGE]` and `uncertain`. Options are those of `table.py`.

Official counts, before images are left out: 2,412 and 1,962.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.chestxray14 import PATIENT
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.table import scan_table

CITATION = (
    "A. Majkowska, S. Mittal, D. F. Steiner, J. J. Reicher, et al., Chest radiograph interpretation with deep learning models: "
    "Assessment with radiologist-adjudicated reference standards and population-adjusted evaluation, Radiology 294(2), 421-431, "
    "2020, doi:10.1148/radiol.2019191293"
)
DEFAULTS: dict[str, Any] = {
    "table": {"train": "validation_labels.csv", "test": "test_labels.csv"}, "image": "images/{Image Index}", "task": "multiclass",
    "columns": ["Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass"], "positive": ["YES"], "negative": ["NO"],
    "several": "leave-out", "none": "other", "group": PATIENT, "channels": 1, "expected": {"train": 2412, "test": 1962},
    "citation": CITATION,
}  # fmt: skip


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with one finding or none; see `scan_table`."""
    return scan_table(root, size, options, reader="nih-four-findings", defaults=DEFAULTS)
