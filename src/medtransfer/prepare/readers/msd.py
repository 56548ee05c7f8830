"""Read a task of the Medical Segmentation Decathlon: NIfTI volumes that dataset.json lists, 4-D for several modalities.

Source: http://medicaldecathlon.com. Citation: `CITATION` below. One raw example:

    Task02_Heart/dataset.json                     name, modality, labels, training: [{image, label}], test: [image]
    Task02_Heart/imagesTr/la_007.nii.gz           float32 (320, 320, 130), spacing 1.25 x 1.25 x 1.37 mm
    Task02_Heart/labelsTr/la_007.nii.gz           uint8 (320, 320, 130), labels 0 1

The images in `test` have no published labels, so the test split is drawn from the training cases: `split: {test: 0.2, seed: 0}`.
Options are those of `volume_cases.py`; `classes` and `labels` come from dataset.json. CT alone is scaled over the dataset unless
`scaling` says otherwise, since its values mean the same in every volume.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.data.volumes import ENDINGS
from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Scan, read_options, require_folder
from medtransfer.prepare.readers.dataset_json import DatasetJson, read_dataset_json
from medtransfer.prepare.readers.volume_cases import OPTIONS, Case, scan_cases

CITATION = (
    "M. Antonelli, A. Reinke, S. Bakas, K. Farahani, et al., The Medical Segmentation Decathlon, Nature Communications 13, 4128, "
    "2022, doi:10.1038/s41467-022-30695-9"
)
REMEDY = "`root` must name the folder of one task, such as Task02_Heart"


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the training cases of a task; only headers are read.

    Args:
        root: the folder that holds dataset.json.
        size: (height, width) of the stored pictures, pixels.
        options: see `volume_cases.py`.

    Raises:
        InputError: dataset.json or a file that it lists is missing or cannot be used.
    """
    chosen = read_options(options, OPTIONS | {"scaling": None}, "msd")
    described = read_dataset_json(require_folder(root, REMEDY), REMEDY)
    cases = _list_cases(root, described)
    classes, rule = described.classes(chosen)
    scaling = ("dataset" if described.is_ct else "volume") if chosen["scaling"] is None else chosen["scaling"]
    notes = described.notes(len(cases))
    if test := described.values.get("test"):
        notes += (f"{len(test)} test images of {root} have no published labels and are not read",)
    chosen |= {"scaling": scaling, "regions": described.regions(chosen)}
    return scan_cases(
        cases, root, size, chosen, rule=rule, classes=classes, channel_names=described.channels,
        citation=f"{described.name}: {CITATION}".removeprefix(": "), notes=notes,
    )  # fmt: skip


def _list_cases(root: Path, described: DatasetJson) -> list[Case]:
    listed = described.values.get("training")
    if not isinstance(listed, list) or not listed:
        raise InputError(f"expected the list `training` of cases in {described.path}, but got {listed!r}; restore it")
    cases = []
    for entry in listed:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "label")):
            raise InputError(f"expected cases {{image, label}} in `training` of {described.path}, but got {entry!r}; restore it")
        image, label = (_find(root, entry[key], described) for key in ("image", "label"))
        cases.append(Case(None, _stem(image), (image,), label))
    return sorted(cases, key=lambda case: case.name)


def _find(root: Path, name: str, described: DatasetJson) -> Path:
    path = root / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise InputError(f"expected files below {root} in {described.path}, but got {name!r}; correct it")
    if path.is_file():
        return path
    stem = _stem(path)
    if (path.parent / f"{stem}_0000{path.name.removeprefix(stem)}").is_file():
        raise InputError(f"expected {path}, which {described.path} lists, but there is {stem}_0000…, as nnU-Net names it; set "
                         "`reader: nnunet`")  # fmt: skip
    raise InputError(f"expected {path}, which {described.path} lists, but it does not exist; restore it")


def _stem(path: Path) -> str:
    return next((path.name.removesuffix(ending) for ending in ENDINGS if path.name.endswith(ending)), path.stem)
