"""Read dataset.json of nnU-Net and of the Medical Segmentation Decathlon: classes, channels and listed cases.

{"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"background": 0, "PZ": 1, "ignore": 2}, "numTraining": 32,
 "file_ending": ".nii.gz"}                                                                            nnU-Net, version 2
{"labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing": 3},
 "regions_class_order": [1, 2, 3]}                                              with regions; masks hold the values 1, 2 and 3
{"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "left atrium"}, "numTraining": 20,
 "training": [{"image": "./imagesTr/la_007.nii.gz", "label": "./labelsTr/la_007.nii.gz"}], "test": […]}      version 1, MSD
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.errors import InputError
from medtransfer.prepare.mask_values import MaskRule, read_rule
from medtransfer.prepare.readers.contract import check_classes
from medtransfer.records import parse_json, require_file

FILE = "dataset.json"


@dataclass(frozen=True)
class DatasetJson:
    """What dataset.json says.

    Attributes:
        path: path of the file.
        name: name of the dataset, empty if it has none.
        channels: names of the channels.
        labels: class name, `background` or `ignore` of each raw value.
        values: all of its content.
    """

    path: Path
    name: str
    channels: tuple[str, ...]
    labels: Mapping[int, str]
    values: Mapping[str, Any]

    @property
    def is_ct(self) -> bool:
        """Whether all channels are CT, whose values mean the same in every volume."""
        return all(name.upper() == "CT" for name in self.channels)

    def classes(self, chosen: Mapping[str, Any]) -> tuple[list[str], MaskRule]:
        """Return the classes and the rule of the masks; the options `classes` and `labels` come first.

        Raises:
            InputError: the labels cannot be used.
        """
        labels = self.labels if chosen["labels"] is None else chosen["labels"]
        known = [name for name in dict.fromkeys(self.labels.values()) if name not in ("background", "ignore")]
        classes = known if chosen["classes"] is None else chosen["classes"]
        check_classes(classes)
        return classes, read_rule(labels, classes, chosen["threshold"])

    def regions(self, chosen: Mapping[str, Any]) -> Any:
        """Return the regions, raw values by name; the option `regions` comes first.

        All labels are regions where one lists several values, as in nnU-Net, which averages over them.
        """
        labels = self.values["labels"]
        if chosen["regions"] is not None or not any(isinstance(value, list) for value in labels.values()):
            return chosen["regions"]
        return {name: value for name, value in labels.items() if value not in (0, [0]) and name != "ignore"}

    def notes(self, count: int) -> tuple[str, ...]:
        """Note if there are not as many training cases as the file announces, and what becomes of regions."""
        announced = self.values.get("numTraining", count)
        notes = [] if announced == count else [f"{self.path} announces {announced} training cases, but {count} are there"]
        if regions := [name for name, value in self.values["labels"].items() if isinstance(value, list)]:
            parts = ", ".join(f"{value}: {name}" for value, name in sorted(self.labels.items()))
            notes.append(
                f"the regions {', '.join(regions)} overlap, so models learn the values of the masks ({parts}); metrics are also "
                "those of the regions, and means are over the regions, unless the option `regions` says otherwise"
            )
        return tuple(notes)


def read_dataset_json(root: Path, remedy: str) -> DatasetJson:
    """Read dataset.json.

    Args:
        root: folder of the dataset.
        remedy: what the user can do if it is missing.

    Raises:
        InputError: it is missing or cannot be used.
    """
    path = require_file(root / FILE, "the description of the dataset", remedy)
    try:
        values = parse_json(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise InputError(f"expected JSON in {path}, but it cannot be read ({error}); restore it") from None
    if not isinstance(values, dict):
        raise InputError(f"expected an object in {path}, but got {type(values).__name__}; restore it")
    channels = values.get("channel_names", values.get("modality"))
    if not isinstance(channels, dict) or set(channels) != {str(number) for number in range(len(channels))} or not channels:
        raise InputError(f"expected `channel_names` or `modality` with keys 0, 1, … in {path}, but got {channels!r}; correct it")
    names = tuple(str(channels[str(number)]) for number in range(len(channels)))
    return DatasetJson(path, str(values.get("name", "")), names, _read_labels(values.get("labels"), path), values)


def _read_labels(labels: Any, path: Path) -> dict[int, str]:
    """Return the name of each raw value, from {name: value} of version 2 or {value: name} of version 1."""
    if isinstance(labels, dict) and any(isinstance(value, list) for value in labels.values()):
        labels = _name_parts(labels, path)
    try:
        numbered = {int(value): str(name) for name, value in labels.items()} if _is_version_2(labels) else {
            int(value): str(name) for value, name in labels.items()
        }  # fmt: skip
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"expected `labels` with a name for every number in {path}, but got {labels!r}; correct it") from None
    if len(numbered) < len(labels):
        raise InputError(f"expected another value for each label in {path}, but got {labels!r}; correct it")
    zero = numbered.get(0, "background")
    if zero.lower() not in ("background", "clear label", "bg"):
        raise InputError(f"expected label 0 to be the background in {path}, but it is {zero!r}; correct it")
    return numbered | {0: "background"}


def _name_parts(labels: Mapping[str, Any], path: Path) -> dict[str, int]:
    """Return a name for each value of labels of which some are regions, lists of values: that of the smallest region with it."""
    regions = {str(name): value if isinstance(value, list) else [value] for name, value in labels.items()}
    if wrong := [name for name, values in regions.items() if not values or any(type(value) is not int for value in values)]:
        raise InputError(
            f"expected the region {wrong[0]!r} in {path} to list whole numbers, but got {labels[wrong[0]]!r}; correct it"
        )
    named = {}
    for value in sorted({value for values in regions.values() for value in values}):
        smallest = min((name for name in regions if value in regions[name]), key=lambda name: len(regions[name]))
        named[smallest if len(regions[smallest]) == 1 else f"{smallest} (label {value})"] = value
    return named


def _is_version_2(labels: Mapping[str, Any]) -> bool:
    return all(type(value) is int for value in labels.values())
