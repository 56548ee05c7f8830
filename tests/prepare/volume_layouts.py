"""Write small datasets of volumes in the layouts of nnU-Net, the Decathlon and plain folders."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

SHAPE = (12, 10, 3)
AFFINE = np.diag([-1.5, -2, 8, 1])


def volume(seed: int, shape: Sequence[int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 30, shape).astype(np.float32)


def labels(number: int = 2, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """Return labels 0 to `number`, each in every slice."""
    return (np.arange(np.prod(shape)).reshape(shape) // 2 % (number + 1)).astype(np.uint8)


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(values, affine), path)
    else:
        pages = [Image.fromarray(page) for page in values.transpose(2, 1, 0)]  # (x, y, z) -> (z, y, x)
        pages[0].save(path, **({"save_all": True, "append_images": pages[1:]} if path.suffix == ".tif" else {}))
    return path


def describe(root: Path, values: Mapping[str, Any]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(values))
    return root


def write_nnunet(root: Path, cases: int = 4, tests: int = 2, channels: int = 1, ending: str = ".nii.gz", **changed: Any) -> Path:
    """Write raw data of version 2 with random volumes; `changed` overrides dataset.json."""
    for split, number in (("Tr", cases), ("Ts", tests)):
        for case in range(number):
            for channel in range(channels):
                values = volume(10 * case + channel + (200 if split == "Tr" else 300))
                save(root / f"images{split}/{split}_{case:03d}_{channel:04d}{ending}", values)
            save(root / f"labels{split}/{split}_{case:03d}{ending}", labels())
    names = ["T2", "ADC", "DWI", "PD"][:channels]
    return describe(root, {
        "channel_names": {str(number): name for number, name in enumerate(names)}, "labels": {"background": 0, "PZ": 1, "TZ": 2},
        "numTraining": cases, "file_ending": ending, **changed,
    })  # fmt: skip


def write_msd(root: Path, cases: int = 6, modalities: Sequence[str] = ("MRI",), **changed: Any) -> Path:
    """Write a task of the Decathlon: 4-D volumes if there are several modalities."""
    shape = SHAPE if len(modalities) == 1 else (*SHAPE, len(modalities))
    names = [f"la_{case:03d}" for case in range(cases)]
    for case, name in enumerate(names):
        save(root / f"imagesTr/{name}.nii.gz", volume(case, shape))
        save(root / f"labelsTr/{name}.nii.gz", labels(1))
    return describe(root, {
        "name": "LeftAtrium", "modality": {str(number): name for number, name in enumerate(modalities)},
        "labels": {"0": "background", "1": "left atrium"}, "numTraining": cases, "numTest": 1,
        "training": [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names],
        "test": ["./imagesTs/la_900.nii.gz"], **changed,
    })  # fmt: skip


def write_folder(root: Path, ending: str, cases: int = 4) -> Path:
    """Write images/ and masks/ of volumes, each of a scale of its own."""
    for case in range(cases):
        values = volume(case) * (case + 1)
        save(root / f"images/case{case}{ending}", values.astype(np.uint16) if ending == ".tif" else values)
        save(root / f"masks/case{case}{ending}", labels(1))
    return root


def write_dicom(root: Path, cases: int = 4, step: float = 8) -> Path:
    """Write images/case0/… as series of shuffled slices with slope 2 and intercept -1024, and masks in NIfTI."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    for case in range(cases):
        stored, series = volume(case).astype(np.uint16), generate_uid(entropy_srcs=[str(case)])
        for place, z in enumerate((1, 2, 0)):
            meta = FileMetaDataset()
            meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
            path = root / f"images/case{case}/{place}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
            data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = CTImageStorage, generate_uid(), series
            data.Columns, data.Rows = SHAPE[:2]
            data.PixelSpacing, data.ImageOrientationPatient = [2, 1.5], [1, 0, 0, 0, 1, 0]
            data.ImagePositionPatient = [0, 0, z * step]
            data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
            data.BitsAllocated = data.BitsStored = 16
            data.HighBit, data.RescaleSlope, data.RescaleIntercept = 15, 2, -1024
            data.PixelData = np.ascontiguousarray(stored[:, :, z].T).tobytes()
            pydicom.dcmwrite(path, data, enforce_file_format=True)
        save(root / f"masks/case{case}.nii.gz", labels(1), np.diag([-1.5, -2, step, 1]))
    return root
