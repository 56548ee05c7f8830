"""Read a dataset in nnU-Net's raw format, version 1 or 2: a file per case and channel.

Source: https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md (F. Isensee et al., nnU-Net, Nature Methods 18, 203-211,
2021). One raw example:

    Dataset005_Prostate/dataset.json                              channel_names, labels, numTraining, file_ending
    Dataset005_Prostate/imagesTr/prostate_00_0000.nii.gz          first channel of the case prostate_00
    Dataset005_Prostate/imagesTr/prostate_00_0001.nii.gz          second channel
    Dataset005_Prostate/labelsTr/prostate_00.nii.gz
    Dataset005_Prostate/imagesTs/…, labelsTs/…                    the published test split, where it has labels

File endings are .nii.gz, .nii and those of pictures, such as .png (RGB counts as three channels) or .tif (pages are slices). The
label `ignore` is left out of loss and metrics. Regions, labels that list several values, overlap: the classes are the values of the
masks, each named after the smallest region with it, and metrics are also those of the regions. Options are those of
`volume_cases.py`; `classes`, `labels` and `regions` come from dataset.json. CT alone
is scaled over the dataset unless `scaling` says otherwise, as nnU-Net does.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.resizing import Size
from medtransfer.data.volumes import ENDINGS, SUFFIXES
from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Scan, is_folder, list_entries, pair_up, read_options, require_folder
from medtransfer.prepare.readers.dataset_json import DatasetJson, read_dataset_json
from medtransfer.prepare.readers.volume_cases import OPTIONS, Case, scan_cases

REMEDY = "`root` must name the folder of one dataset, such as Dataset005_Prostate"
SPLITS = {"train": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}


def scan(root: Path, size: Size, options: Mapping[str, Any]) -> Scan:
    """List the cases of a dataset that have labels; only headers are read.

    Args:
        root: the folder that holds dataset.json.
        size: (height, width) of the stored pictures, pixels.
        options: see `volume_cases.py`.

    Raises:
        InputError: dataset.json, a channel or a label is missing or cannot be used.
    """
    chosen = read_options(options, OPTIONS | {"scaling": None}, "nnunet")
    described = read_dataset_json(require_folder(root, REMEDY), REMEDY)
    ending = str(described.values.get("file_ending", ENDINGS[0]))
    if not ending.lower().endswith((*ENDINGS, *SUFFIXES)):
        raise InputError(
            f"expected a `file_ending` of NIfTI or a picture in {described.path}, but got {ending!r}; convert the files to .nii.gz"
        )
    labelled = {name for name, (_, labels) in SPLITS.items() if is_folder(root / labels)}
    cases = [case for name in SPLITS if name in labelled for case in _list_split(root, name, ending, described)]
    if not cases:
        raise InputError(f"expected labels in {root / 'labelsTr'}, but there are none; {REMEDY}")
    if labelled != set(SPLITS):  # without a published test split all cases are to be drawn from
        cases = [Case(None, case.name, case.images, case.mask) for case in cases]
    training = sum(case.split != "test" for case in cases)
    notes = described.notes(training)
    if is_folder(root / "imagesTs") and "test" not in labelled:
        notes += (f"images of {root / 'imagesTs'} have no labels in labelsTs and are not read",)
    classes, rule = described.classes(chosen)
    scaling = ("dataset" if described.is_ct else "volume") if chosen["scaling"] is None else chosen["scaling"]
    citation = described.values.get("reference") or "own data"
    chosen |= {"scaling": scaling, "regions": described.regions(chosen)}
    return scan_cases(
        cases, root, size, chosen, rule=rule, classes=classes, channel_names=described.channels,
        citation=f"{described.name}: {citation}".removeprefix(": "), notes=notes,
    )  # fmt: skip


def _list_split(root: Path, split: str, ending: str, described: DatasetJson) -> Iterator[Case]:
    images, labels = (require_folder(root / name, REMEDY) for name in SPLITS[split])
    if split == "train" and isinstance(listed := described.values.get("dataset"), dict):
        yield from _list_named(root, listed, described)
        return
    channels: dict[str, dict[int, Path]] = {}
    for path in _list_files(images, ending):
        match = re.fullmatch(rf"(.+)_(\d{{4}}){re.escape(ending)}", path.name)
        if match is None:
            raise InputError(
                f"expected images named <case>_<channel>{ending}, such as case_0000{ending}, in {images}, but got {path.name}; "
                "rename it, or set `reader: msd` if dataset.json lists it"
            )
        channels.setdefault(match[1], {})[int(match[2])] = path
    for name, files in channels.items():
        if sorted(files) != list(range(len(files))):
            raise InputError(
                f"expected the channels 0000, 0001, … of the case {name} in {images}, but got "
                f"{', '.join(f'{number:04d}' for number in sorted(files))}; complete the case, or move it away"
            )
    masks = {path.name.removesuffix(ending): path for path in _list_files(labels, ending)}
    for name, _, mask in pair_up({name: files[0] for name, files in channels.items()}, masks, labels):
        yield Case(split, name, tuple(channels[name][number] for number in sorted(channels[name])), mask)


def _list_files(folder: Path, ending: str) -> list[Path]:
    paths = [path for path in list_entries(folder) if not path.name.startswith(".")]
    return [path for path in paths if path.name.endswith(ending)]


def _list_named(root: Path, listed: Mapping[str, Any], described: DatasetJson) -> Iterator[Case]:
    """List the cases of the key `dataset`, which names the files of each wherever they are below `root`."""
    for name, files in sorted(listed.items()):
        paths: list[Any] = [*files.get("images", []), files.get("label")] if isinstance(files, dict) else []
        if len(paths) < 2 or not all(isinstance(path, str) and ".." not in Path(path).parts for path in paths):
            raise InputError(
                f"expected `dataset` of {described.path} to name images and label of each case below {root}, but got {files!r} for "
                f"{name!r}; correct it"
            )
        yield Case("train", name, tuple(root / path for path in paths[:-1]), root / paths[-1])
