"""Read the RSNA pulmonary embolism dataset: slices of CT angiographies, and whether an embolism is seen in each.

Source: https://www.kaggle.com/competitions/rsna-str-pulmonary-embolism-detection. Citation: `CITATION` below. One raw example:

    train.csv    StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,pe_present_on_image,negative_exam_for_pe,…
                 6897fa9de148,2bfbb7fd2e8b,c0f3cb036d06,0,0,…
    train/6897fa9de148/2bfbb7fd2e8b/c0f3cb036d06.dcm        CT, 512x512, Hounsfield units after slope and intercept

The three windows of the option `scaling` become the three channels: lung, embolism and mediastinum, by default level -600 and width
1500, 100 and 700, 40 and 400. The labels of the published test exams are hidden, so draw a split; the group is the exam. Other
options are those of `table.py`. Other images than the training ones have no published count.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.prepare.readers.contract import Scan
from medtransfer.prepare.readers.table import scan_table

CITATION = (
    "E. Colak, F. C. Kitamura, S. B. Hobbs, C. C. Wu, et al., The RSNA pulmonary embolism CT dataset, Radiology: Artificial "
    "Intelligence 3(2), e200254, 2021, doi:10.1148/ryai.2021200254"
)
DEFAULTS: dict[str, Any] = {
    "table": "train.csv", "image": "train/{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm", "task": "binary",
    "column": "pe_present_on_image", "classes": ["pulmonary embolism"], "group_by": "{StudyInstanceUID}",
    "scaling": [[-1350, 150], [-250, 450], [-160, 240]], "citation": CITATION,
}  # fmt: skip


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the slices with their labels; see `scan_table`."""
    return scan_table(root, size, options, reader="rsna-pe", defaults=DEFAULTS)
