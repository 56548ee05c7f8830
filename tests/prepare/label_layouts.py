"""Write small datasets of classified images in their official layouts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEADER14 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],"
    "OriginalImagePixelSpacing[x,y],"
)
CHEXPERT = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,"
    "Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


def picture(path: Path, seed: int, mode: str = "L", shape: Sequence[int] = (20, 24)) -> Path:
    """Write random pixels; other modes than L show the same grey."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path, quality=100)
    return path


def write_dicom(path: Path, stored: np.ndarray, intercept: int = -1024, photometric: str = "MONOCHROME2") -> Path:
    """Write one file of uint8 or uint16 values."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = CTImageStorage, generate_uid(), generate_uid()
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, photometric, 0
    data.BitsAllocated = data.BitsStored = 8 * stored.itemsize
    data.HighBit = data.BitsStored - 1
    if intercept:
        data.RescaleSlope, data.RescaleIntercept = 1, intercept
    data.PixelData = stored.tobytes()
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def write_table(root: Path) -> Path:
    """Write grades of six patients, with a column of splits."""
    for number in range(12):
        picture(root / f"scans/{number:02d}.png", number)
    rows = [f"{n:02d},{n // 2},{n % 3},{'testing' if n > 7 else 'training'}" for n in range(12)]
    write_lines(root / "labels.csv", "id,patient,grade,part", *rows)
    return root


def write_image_folder(root: Path) -> Path:
    for number in range(12):
        picture(root / ("test" if number > 7 else "train") / "abc"[number % 3] / f"{number}.png", number, "RGB")
    return root


FINDINGS14 = ["Edema|Effusion", "No Finding", "Hernia", "Pneumonia", "No Finding", "Pneumonia|Mass"]


def write_chestxray14(root: Path) -> Path:
    """Write three patients of two images; the fourth image is RGBA."""
    names = [f"{patient:08d}_{follow:03d}.png" for patient in (1, 2, 3) for follow in (0, 1)]
    for number, name in enumerate(names):
        picture(root / "images" / name, number, "RGBA" if number == 3 else "L")
    pairs = zip(names, FINDINGS14, strict=True)
    rows = [f"{name},{text},{n % 2},{n // 2 + 1},058Y,M,PA,2682,2749,0.143,0.143," for n, (name, text) in enumerate(pairs)]
    write_lines(root / "Data_Entry_2017.csv", HEADER14, *rows)
    write_lines(root / "train_val_list.txt", *names[:4])
    write_lines(root / "test_list.txt", *names[4:])
    return root


def write_chexpert(root: Path) -> Path:
    """Write three patients; the first has a lateral image, uncertain edema and nothing else but blanks."""
    rows: dict[str, list[str]] = {"train": [], "valid": []}
    for number, (part, patient, view, labels) in enumerate((
        ("train", 1, "frontal", ",,1.0,,,-1.0,,,,,,,,"),
        ("train", 1, "lateral", ",,1.0,,,-1.0,,,,,,,,"),
        ("train", 2, "frontal", "1.0,,,,,0.0,,,,,,,,"),
        ("valid", 3, "frontal", "0.0,0.0,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0"),
        ("valid", 4, "frontal", "1.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0"),
    )):  # fmt: skip
        path = f"{part}/patient{patient:05d}/study1/view{number}_{view}.jpg"
        picture(root / path, number)
        rows[part].append(f"CheXpert-v1.0-small/{path},Female,68,{view.title()},AP,{labels}")
    for part, lines in rows.items():
        write_lines(root / f"{part}.csv", f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT}", *lines)
    return root


def write_rsna_pe(root: Path) -> Path:
    """Write four exams of two slices, the second of which shows an embolism."""
    rows = []
    for exam in range(4):
        for place in range(2):
            values = np.random.default_rng(10 * exam + place).integers(0, 2048, (20, 24)).astype(np.uint16)
            write_dicom(root / f"train/st{exam}/se{exam}/sop{exam}{place}.dcm", values)
            rows.append(f"st{exam},se{exam},sop{exam}{place},{place},0")
    write_lines(
        root / "train.csv", "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,pe_present_on_image,negative_exam_for_pe", *rows
    )
    return root


def write_shenzhen(root: Path) -> Path:
    for number in range(6):
        name = f"CHNCXR_{number:04d}_{number % 2}"
        picture(root / f"CXR_png/{name}.png", number)
        write_lines(root / f"ClinicalReadings/{name}.txt", "male, 35yrs")
    return root


def write_aptos(root: Path) -> Path:
    for number in range(10):
        picture(root / f"train_images/{number:012x}.png", number, "RGB")
    write_lines(root / "train.csv", "id_code,diagnosis", *(f"{number:012x},{number % 5}" for number in range(10)))
    return root


def write_patchcamelyon(root: Path) -> Path:
    for number in range(6):
        picture(root / f"train/{number:040x}.tif", number, "RGB", (16, 16))
    write_lines(root / "train_labels.csv", "id,label", *(f"{number:040x},{number % 2}" for number in range(6)))
    return root


KERMANY = {
    "train": (
        "NORMAL/IM-0115-0001", "NORMAL/NORMAL2-IM-0229-0001", "PNEUMONIA/person1_bacteria_1", "PNEUMONIA/person1_bacteria_2",
        "PNEUMONIA/person2_virus_3",
    ),
    "val": (),
    "test": ("NORMAL/IM-0229-0001", "PNEUMONIA/person1_virus_6"),
}  # fmt: skip


def write_kermany(root: Path) -> Path:
    """Write pictures whose numbers are in train and in test, of other children."""
    for split, names in KERMANY.items():
        for number, name in enumerate(names):
            picture(root / split / f"{name}.jpeg", len(split) * 10 + number, "RGB" if number == 1 else "L")
    return root


def write_nih_four_findings(root: Path) -> Path:
    """Write images of each finding, of none, and of two."""
    findings = ["YES,NO,NO,NO", "NO,YES,NO,NO", "NO,NO,YES,NO", "NO,NO,NO,YES", "NO,NO,NO,NO", "YES,NO,YES,NO"]
    for part, first in (("validation", 0), ("test", 6)):
        names = [f"{first + number:08d}_000.png" for number in range(6)]
        for number, name in enumerate(names):
            picture(root / "images" / name, first + number)
        rows = [f"{name},{int(name[:8])},{text}" for name, text in zip(names, findings, strict=True)]
        header = "Image Index,Patient ID,Fracture,Pneumothorax,Airspace opacity,Nodule or mass"
        write_lines(root / f"{part}_labels.csv", header, *rows)
    return root


def write_siim(root: Path) -> Path:
    """Write four images of 3x4 pixels, the first with two masks, the second without one, the third with one."""
    for number in range(4):
        values = np.random.default_rng(number).integers(0, 256, (3, 4)).astype(np.uint8)
        write_dicom(root / f"dicom-images-train/st{number}/se{number}/im.{number}.dcm", values, intercept=0)
    rows = ["im.0, 1 2 3 1", "im.0,11 1", "im.1, -1", "im.2,0 2", "im.3,4 3"]
    write_lines(root / "train-rle.csv", "ImageId, EncodedPixels", *rows)
    return root


def write_all(root: Path) -> None:
    """Write every layout to a folder of its reader's name."""
    for name, write in {
        "table": write_table, "image-folder": write_image_folder, "chestxray14": write_chestxray14, "chexpert": write_chexpert,
        "rsna-pe": write_rsna_pe, "shenzhen": write_shenzhen, "aptos": write_aptos, "patchcamelyon": write_patchcamelyon,
        "kermany": write_kermany, "nih-four-findings": write_nih_four_findings, "siim": write_siim,
    }.items():  # fmt: skip
        write(root / name)
