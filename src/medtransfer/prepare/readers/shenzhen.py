"""Read the Shenzhen chest X-rays: tuberculosis or normal.

Source: https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/. Citation: `CITATION` below. One raw example:

    CXR_png/CHNCXR_0327_1.png             about 3000x3000; the last digit is 1 for tuberculosis and 0 for normal
    ClinicalReadings/CHNCXR_0327_1.txt    not used

Official counts: 662 images, 326 normal and 336 with tuberculosis, without a published split; every image is of another patient.
Lists of `name label` lines are read with `split_lists`; those of Hosseinzadeh Taher et al. have 463, 65 and 134 names. Options
are those of `image_folder.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.contract import ALL, Scan
from medtransfer.prepare.readers.image_folder import scan_classes

CITATION = (
    "S. Jaeger, S. Candemir, S. Antani, Y.-X. J. Wang, P.-X. Lu, G. Thoma, Two public chest X-ray datasets for computer-aided "
    "screening of pulmonary diseases, Quantitative Imaging in Medicine and Surgery 4(6), 475-477, 2014, "
    "doi:10.3978/j.issn.2223-4292.2014.11.20"
)
DEFAULTS: dict[str, Any] = {
    "images": "CXR_png", "label": r"CHNCXR_\d+_(\d)$", "labels": {0: "normal", 1: "tuberculosis"}, "task": "binary",
    "classes": ["tuberculosis"], "channels": 1, "expected": {ALL: 662}, "citation": CITATION,
}  # fmt: skip


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the images with the labels in their names; see `scan_classes`."""
    return scan_classes(root, size, options, reader="shenzhen", defaults=DEFAULTS)
