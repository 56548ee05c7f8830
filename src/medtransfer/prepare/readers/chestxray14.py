"""Read ChestX-ray14: frontal chest X-rays with fourteen findings, several an image.

Source: https://nihcc.app.box.com/v/ChestXray-NIHCC. Citation: `CITATION` below. One raw example:

    Data_Entry_2017.csv     Image Index,Finding Labels,Follow-up #,Patient ID,…,OriginalImage[Width,Height],…[x,y],
                            00000001_000.png,Cardiomegaly|Emphysema,0,1,…
    images/00000001_000.png        grey, 1024x1024, a few RGBA; 00000001 is the patient, 000 the follow-up
    train_val_list.txt, test_list.txt    one name per line

Two names in the header hold a comma without quotes, so that a line has twelve fields. Options are those of `table.py`; those of
this dataset are below, and one more: `lists`, split -> file of lines `name l1 … l14` with the labels 0 and 1 in the order of
CLASSES, which the authors released later with a validation split. Kaggle's copy needs
`image: 'images_*/images/{Image Index}'`, and one finding against all others
`{task: binary, classes: [Pneumonia], others: negative}`.

Official counts: 86,524 training and 25,596 test images; in the lists 75,312, 11,212 for validation, and 25,596. No patient is in
two splits. Positive test images, in the order of CLASSES: 3279 1069 4658 6112 1748 1623 555 2665 1815 925 1093 435 1143 86.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.table import scan_table

CITATION = (
    "X. Wang, Y. Peng, L. Lu, Z. Lu, M. Bagheri, R. M. Summers, ChestX-ray8: Hospital-scale chest X-ray database and benchmarks "
    "on weakly-supervised classification and localization of common thorax diseases, CVPR 2017, doi:10.1109/CVPR.2017.369"
)
CLASSES = [
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax", "Consolidation",
    "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
]  # fmt: skip
COUNTS = {"train": 86_524, "test": 25_596}
COUNTS_WITH_VALIDATION = {"train": 75_312, "validation": 11_212, "test": 25_596}
PATIENT = r"(\d{8})_\d+\.png$"
DEFAULTS: dict[str, Any] = {
    "table": "Data_Entry_2017.csv", "image": "images/{Image Index}", "task": "multilabel", "column": "Finding Labels",
    "separator": "|", "classes": CLASSES, "none": "No Finding", "group": PATIENT, "channels": 1, "citation": CITATION,
    "split_lists": {"train": "train_val_list.txt", "test": "test_list.txt"}, "lists": None,
}  # fmt: skip
OF_LISTS = {
    "header": ["name", *CLASSES], "delimiter": " ", "image": "images/{name}", "column": None, "columns": CLASSES, "separator": None,
    "none": None, "split_lists": None,
}  # fmt: skip


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with their findings; see `scan_table`."""
    lists = options.get("lists")
    defaults = DEFAULTS | ({**OF_LISTS, "table": lists} if lists else {})
    splits = lists or options.get("split_lists") or DEFAULTS["split_lists"]
    counts = COUNTS_WITH_VALIDATION if "validation" in splits else COUNTS
    return scan_table(root, size, options, reader="chestxray14", defaults={**defaults, "expected": counts})
