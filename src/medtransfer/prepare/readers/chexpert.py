"""Read CheXpert: frontal and lateral chest X-rays with fourteen observations, some of them uncertain.

Source: https://stanfordmlgroup.github.io/competitions/chexpert. Citation: `CITATION` below. One raw example:

    train.csv, valid.csv    Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,…
                            CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,…
    train/patient00001/study1/view1_frontal.jpg

A label is 1.0, 0.0, -1.0 (uncertain) or blank (not mentioned), which counts as negative. The option `uncertain` must say what
uncertain labels are; `lsr-ones` and `lsr-zeros` store them, and a training draws a soft label at each access. Options are those of
`table.py`: `where: {Frontal/Lateral: [Frontal]}` takes frontal images alone, and `classes` those of a competition:
`[Atelectasis, Cardiomegaly, Consolidation, Edema, Pleural Effusion]`.

Counts: 223,414 training images, and the official validation set, 234 of 200 patients, as the test split: the real one is hidden.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.table import scan_table

CITATION = (
    "J. Irvin, P. Rajpurkar, M. Ko, Y. Yu, et al., CheXpert: A large chest radiograph dataset with uncertainty labels and expert "
    "comparison, AAAI 2019, doi:10.1609/aaai.v33i01.3301590"
)
CLASSES = [
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
]  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "table": {"train": "train.csv", "test": "valid.csv"}, "image": "{Path}", "strip": r"CheXpert-v1\.0(?:-small)?/",
    "task": "multilabel", "columns": CLASSES, "uncertain_values": [-1], "blank": "negative", "group": r"(patient\d+)/",
    "channels": 1, "expected": {"train": 223_414, "test": 234}, "citation": CITATION,
}  # fmt: skip


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their observations; see `scan_table`."""
    return scan_table(root, size, options, reader="chexpert", defaults=DEFAULTS)
