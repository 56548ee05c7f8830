"""Fixtures: tiny generated datasets, and `prepare` with default arguments."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.prepare.label_layouts import write_all
from tests.prepare.photograph_layouts import write_photographs
from tests.prepare.volume_layouts import write_dicom, write_folder, write_msd, write_nnunet

from medtransfer.prepare.samples import write_samples
from medtransfer.prepare.stage import prepare
from medtransfer.records import PreparedTarget

CHESTS = "lungs/Infection Segmentation Data/Train/COVID-19"
FRACTION = {"test": 0.34, "seed": 0}

# By reader: the folder of the generated samples and the settings that fit it.
CASES: dict[str, dict[str, Any]] = {
    "acdc": {"root": "heart", "size": (32, 48), "subset": True, "options": {}},
    "covid-qu": {"root": "lungs", "size": (32, 48), "subset": True, "options": {}},
    "idrid": {"root": "retina", "size": (80, 160), "subset": True, "options": {"window": 32, "stride": 16, "tile": 16}},
    "folder": {
        "root": CHESTS, "size": (32, 48), "subset": False, "split": FRACTION, "options": {"masks": "infection masks"},
    },
    "nnunet": {"root": "nnunet", "size": (32, 48), "subset": False, "options": {}},
    "msd": {"root": "msd", "size": (32, 48), "subset": False, "split": FRACTION, "options": {}},
    "nifti": {"root": "nifti", "size": (32, 48), "subset": False, "split": FRACTION, "options": {}},
    "dicom": {"root": "dicom", "size": (32, 48), "subset": False, "split": FRACTION, "options": {}},
    "tiff": {"root": "tiff", "size": (32, 48), "subset": False, "split": FRACTION, "options": {}},
    "table": {
        "root": "table", "size": (16, 20), "subset": False, "options": {
            "image": "scans/{id}.png", "column": "grade", "task": "ordinal", "classes": ["0", "1", "2"], "group_by": "{patient}",
            "split_column": "part",
        },
    },
    "image-folder": {"root": "image-folder", "size": (16, 20), "subset": False, "options": {}},
    "chestxray14": {"root": "chestxray14", "size": (16, 20), "subset": True, "options": {}},
    "chexpert": {"root": "chexpert", "size": (16, 20), "subset": True, "options": {"uncertain": "lsr-ones"}},
    "rsna-pe": {"root": "rsna-pe", "size": (16, 20), "subset": True, "split": FRACTION, "options": {}},
    "shenzhen": {"root": "shenzhen", "size": (16, 20), "subset": True, "split": FRACTION, "options": {}},
    "aptos": {"root": "aptos", "size": (16, 20), "subset": True, "split": FRACTION, "options": {}},
    "patchcamelyon": {"root": "patchcamelyon", "size": (16, 16), "subset": True, "split": FRACTION, "options": {}},
    "kermany": {"root": "kermany", "size": (16, 20), "subset": True, "options": {}},
    "nih-four-findings": {"root": "nih-four-findings", "size": (16, 20), "subset": True, "options": {}},
    "siim": {"root": "siim", "size": (3, 4), "subset": False, "split": {"test": 0.5, "seed": 0}, "options": {}},
    "flowers17": {
        "root": "flowers17", "size": (24, 30), "subset": True, "split": FRACTION,
        "options": {"colours": {"128 0 0": "flower", "0 0 0": "ignore", "128 128 0": "background"}},
    },
    "flowers102": {"root": "flowers102", "size": (24, 30), "subset": True, "options": {"splits": {"valid": "train"}}},
    "oxford-pets": {"root": "oxford-pets", "size": (24, 30), "subset": True, "options": {}},
    "oxford-pets-breeds": {"root": "oxford-pets", "size": (24, 30), "subset": True, "options": {}},
    "cityscapes": {"root": "cityscapes", "size": (24, 30), "subset": True, "options": {"classes": ["car", "bus"]}},
    "voc2012": {"root": "voc2012", "size": (24, 30), "subset": True, "options": {"classes": ["cat", "aeroplane"]}},
    "camvid": {
        "root": "camvid", "size": (24, 30), "subset": True, "split": FRACTION, "options": {"classes": ["road", "car"]},
    },
    "crops": {
        "root": "cityscapes", "size": (16, 16), "subset": True,
        "options": {
            "of": "cityscapes", "read": {"classes": ["car", "bus"]}, "frame": [24, 30], "class": "car", "sides": [0.3, 0.8],
        },
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the generated datasets, tiny; tests copy what they change."""
    out = tmp_path_factory.mktemp("generated") / "samples"
    write_samples(out, seed=7, patients=4, lungs=5, retinas=3, pictures=6)
    write_nnunet(out / "nnunet")
    write_msd(out / "msd")
    write_folder(out / "nifti", ".nii.gz")
    write_folder(out / "tiff", ".tif")
    write_dicom(out / "dicom")
    write_all(out)
    write_photographs(out)
    return out


@pytest.fixture
def run(samples: Path, tmp_path: Path) -> Callable[..., PreparedTarget]:
    """`run(reader, **changes)` prepares the reader's sample as the target `t` below tmp_path/out."""

    def call(reader: str, **changes: Any) -> PreparedTarget:
        case = {"split": "official", "validation": 0.0, "allow_duplicates": False, "out": tmp_path / "out"}
        case |= CASES[reader] | {"root": samples / CASES[reader]["root"]} | changes
        return prepare("t", reader=reader, **case)

    return call


@pytest.fixture
def copy(samples: Path, tmp_path: Path) -> Callable[[str], Path]:
    """`copy(reader)` copies the reader's sample to a folder that a test may change."""

    def call(reader: str) -> Path:
        return Path(shutil.copytree(samples / CASES[reader]["root"], tmp_path / "raw"))

    return call
