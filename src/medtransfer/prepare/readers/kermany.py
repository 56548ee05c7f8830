"""Read Kermany's chest X-rays of children: pneumonia or normal.

Source: https://data.mendeley.com/datasets/rscbjbr9sj/2. Citation: `CITATION` below. One raw example:

    chest_xray/train/NORMAL/IM-0115-0001.jpeg, NORMAL2-IM-0173-0001-0001.jpeg
    chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg, person1_virus_6.jpeg

The group is the number of a person together with the kind: `person1_bacteria` and `person1_virus` are different children. So are
`IM-0229` and `NORMAL2-IM-0229`, which are in train and in test. Some pictures are stored twice, within a class. Options are
those of `image_folder.py`; `splits: {val: train}` joins the small validation folder to the training images.

Official counts: train 1341 normal and 3875 pneumonia, val 8 and 8, test 234 and 390.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.folder_layout import SPLITS
from medtransfer.prepare.readers.image_folder import scan_classes

CITATION = (
    "D. S. Kermany, M. Goldbaum, W. Cai, C. C. S. Valentim, et al., Identifying medical diagnoses and treatable diseases by "
    "image-based deep learning, Cell 172(5), 1122-1131, 2018, doi:10.1016/j.cell.2018.02.010"
)
COUNTS = {"train": 5216, "val": 16, "test": 624}
DEFAULTS: dict[str, Any] = {
    "task": "binary", "classes": ["PNEUMONIA"], "group": r"((?:NORMAL2-)?IM-\d+|person\d+_(?:bacteria|virus))", "channels": 1,
    "citation": CITATION,
}  # fmt: skip


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images of the folders NORMAL and PNEUMONIA; see `scan_classes`."""
    splits = SPLITS | (options.get("splits") or {})
    expected: Counter[str] = Counter()
    for folder, number in COUNTS.items():
        expected[splits[folder]] += number
    return scan_classes(root, size, options, reader="kermany", defaults={**DEFAULTS, "expected": expected})
