"""The work of a prediction: models, options and reference masks, and which images are finished."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medtransfer.config import Predict
from medtransfer.data.intensities import Limits
from medtransfer.data.volumes import TIFF
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256
from medtransfer.predict.images import Image, Pixels
from medtransfer.predict.pixels import rule_of
from medtransfer.predict.plan import Plan
from medtransfer.prepare.mask_values import MaskRule
from medtransfer.records import ImageRule, ModelInfo, Prediction

FOLDERS = {"mask": "masks", "overlay": "overlays", "probabilities": "probabilities", "labels": "labels"}  # by kind of file
REVISION = 3  # of what is written for the same image, models and options; files of an older one are written again
OF_DICOM = 1  # further revisions of images that are DICOM


@dataclass(frozen=True)
class Job:
    """What is done with every image.

    Attributes:
        section: validated params.
        folders: folders of the models whose probabilities are averaged, ordered by their weights.
        infos: their records, in the same order.
        limits: what becomes 0 and 255 in an image, by model and name, where a group has one scale.
        masks: file of each image's reference mask; empty without.
        rule: how their raw values become classes.
    """

    section: Predict
    folders: Sequence[Path]
    infos: Sequence[ModelInfo]
    limits: Sequence[dict[str, list[Limits] | None]]
    masks: dict[str, Path]
    rule: MaskRule

    @property
    def out(self) -> Path:
        """Folder of the predictions."""
        return Path(self.section.out)

    @property
    def plan(self) -> Plan:
        """How a picture is predicted."""
        return Plan(self.section.slide, self.section.overlap, tuple(sorted(set(self.section.flips))))

    @property
    def of_images(self) -> bool:
        """Whether labels of images are predicted, not masks."""
        return self.infos[0].of_images

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.infos[0].classes

    @property
    def regions(self) -> Mapping[str, Sequence[int]]:
        """Class numbers of each region by its name."""
        return self.infos[0].regions

    def key(self, image: Image) -> str:
        """Digest of everything that the prediction of an image depends on."""
        section = self.section
        mask = file_sha256(self.masks[image.name]) if self.masks else None
        return digest([
            REVISION + OF_DICOM * image.is_dicom,
            [file_sha256(file) for file in image.files], [info.weights for info in self.infos],
            [_what_makes_pixels(rule_of(info)) for info in self.infos], [limits[image.name] for limits in self.limits],
            asdict(self.plan), section.precision, section.probabilities, section.overlays, mask, self.section.labels and sorted(
                self.section.labels.items(), key=str
            ), *([self.regions] if mask and self.regions else []),
            *([section.mask_threshold] if mask and section.mask_threshold is not None else []),
        ], 16)  # fmt: skip

    def files(self, image: Image, pixels: Pixels) -> dict[str, Path]:
        """Files that are written for an image, by kind."""
        if self.of_images:
            endings = {"labels": ".csv"}
        else:
            volume = "" if pixels.geometry is None else ".nii.gz"
            endings = {"mask": ".tif" if volume and image.path.name.lower().endswith(TIFF) else volume or ".png"}
            endings |= {"overlay": ".png"} if self.section.overlays else {}
            endings |= {"probabilities": volume or ".npy"} if self.section.probabilities else {}
        return {kind: self.out / FOLDERS[kind] / f"{image.name}{ending}" for kind, ending in endings.items()}

    def record(self, image: Image) -> Path:
        """File of an image's record."""
        return self.out / "files" / f"{image.name}.json"

    def counts(self, image: Image) -> Path:
        """File of an image's counts for the metrics."""
        return self.out / "files" / f"{image.name}.npz"

    def finished(self, image: Image, key: str) -> Prediction | None:
        """Return the record of a finished image if nothing that it depends on has changed and its files exist."""
        try:
            done = Prediction.read(self.record(image))
        except InputError:
            return None
        files = [self.out / path for path in done.outputs.values()] + ([self.counts(image)] if self.masks else [])
        return done if done.key == key and all(file.is_file() for file in files) else None


def _what_makes_pixels(rule: ImageRule) -> dict[str, Any]:
    """Return the fields of a rule, without the one that some models lack, by which images are refused alone."""
    return {name: value for name, value in asdict(rule).items() if name != "of_channels"}
