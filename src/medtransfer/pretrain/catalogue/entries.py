"""Entries of the catalogue, read from `catalogue.yaml`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from medtransfer.config import CatalogueOrigin, Section, parse_yaml
from medtransfer.errors import InputError

FILE = Path(__file__).with_name("catalogue.yaml")
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
MULTILABEL = {  # why classifiers of these sources give no distribution over classes
    source: f"a classifier of {source} has several labels per image, a sigmoid each" for source in ("chestxray14", "chexpert")
}
RAW = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}  # pixels in [0, 1] as they are


class Layout(Section):
    """How one published file holds the encoder.

    Attributes:
        container: path to the state dict within the file, such as `state_dict`; empty where the file is one.
        strip: prefix of the encoder's names.
        rule: key of RULES instead of a prefix.
        drop: starts of the names, within the container, that are not the encoder's.
        kernels: order of a convolution's axes.
    """

    container: str = ""
    strip: str = ""
    rule: Literal["byol", "radimagenet", "simclr-v1-tf", "simclr-v2"] | None = None
    drop: list[str] = []
    kernels: Literal["OIHW", "HWIO"] = "OIHW"


class Initialisation(Section):
    """A published initialisation.

    Attributes:
        architecture: key of torchvision's model, or timm's name.
        method: how it was pretrained.
        source: what on; `a>b` on a, then on b.
        epochs: of the pretraining; None where that is unknown.
        published: where it is published.
        licence: of the weights.
        normalisation: of the input: ImageNet's mean and std, or none, pixels in [0, 1].
        layouts: of its published files; empty for models that timm reads by name.
        sha256: of the published file, where it is known.
        remark: what else to know.
    """

    architecture: str
    method: str
    source: str
    epochs: Annotated[int, Field(gt=0)] | None = None
    published: str
    licence: str
    normalisation: Literal["imagenet", "none"] = "imagenet"
    layouts: list[Layout] = []
    sha256: str | None = None
    remark: str = ""

    @property
    def without_head(self) -> str:
        """Why the classifier of its files is no source head; empty if it is one."""
        if self.method != "supervised":
            return f"its method, {self.method}, trains no classifier"
        return MULTILABEL.get(self.source.split(">")[-1], "")

    @property
    def contract(self) -> dict[str, Any]:
        """Input contract of the weights."""
        return {"size": 224, **(IMAGENET if self.normalisation == "imagenet" else RAW), "channels": "RGB"}


@cache
def catalogue() -> Mapping[str, Initialisation]:
    """Return every entry by its id."""
    entries = parse_yaml(FILE.read_text(encoding="utf-8"))
    return {name: Initialisation.model_validate(entry) for name, entry in entries.items()}


def entry_of(origin: CatalogueOrigin) -> Initialisation:
    """Return the entry of an origin.

    Raises:
        InputError: there is none.
    """
    if origin.id not in catalogue():
        raise InputError(
            f"expected the id of a published initialisation, one of {', '.join(catalogue())}, but got {origin.id!r}; correct "
            "`id` of the origin"
        )
    return catalogue()[origin.id]


def epoch_of(origin: CatalogueOrigin) -> int:
    """Return the epoch that is recorded for the weights of an origin."""
    return origin.epoch or entry_of(origin).epochs or 1
