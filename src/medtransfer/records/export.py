"""Record of an exported model, `export.json` beside its files: what it takes, what it answers, and where it comes from."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from medtransfer.config import Name
from medtransfer.records.base import EXPORT, Record, Share, Side
from medtransfer.records.image_rule import StoredRule

EXPORT_FILE = "export.json"


@dataclass(frozen=True)
class ExportInfo(Record):
    """Contents of `export.json`.

    Attributes:
        identity: digest of everything that the export depends on.
        kind: its format, a key of FORMATS.
        file: what other programs open, beside this record; `.` for the folder itself.
        interface: `input` and `output` with `dtype`, `shape` (null: any number) and `meaning`; `params` where there are any.
        task: what the model predicts, a key of TASKS.
        classes: names of the non-background classes.
        thresholds: probabilities above which a class is decided for; empty where the highest probability wins.
        size: (height, width) that images are resized to before they are cut into windows of the network's input, pixels.
        image_rule: how raw images become pixels, the fields of an `ImageRule`; None where that is unknown.
        mean: mean per channel, in [0, 1] units, which every export applies itself.
        std: standard deviation per channel, likewise.
        key: digest of the cell that made the model.
        weights: SHA-256 of the weights file that was exported.
        target: prepared target that the model was fine-tuned on.
        source: source of the pretraining.
        lineage: weights that the pretraining started from, oldest first.
        licence: licence of the pretrained weights; empty where it is unknown.
        difference: largest absolute difference of probabilities from those of the model.
        tolerance: largest difference that was accepted.
        versions: versions of the libraries, by name.
        git_revision: revision of the code that exported it.
        rounding: largest absolute difference of the model's probabilities from those in double precision; None if not computed.
    """

    identity: str
    kind: Name
    file: str
    interface: dict[str, dict[str, Any]]
    task: Name
    classes: list[str]
    thresholds: list[Share]
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    image_rule: StoredRule | None
    mean: list[float]
    std: list[float]
    key: str
    weights: str
    target: str
    source: str
    lineage: list[str]
    licence: str
    difference: Annotated[float, Field(ge=0)]
    tolerance: Annotated[float, Field(gt=0)]
    versions: dict[str, str]
    git_revision: str
    rounding: Annotated[float, Field(ge=0)] | None = None

    @classmethod
    def added(cls) -> frozenset[str]:
        """Return the fields that older files lack."""
        return frozenset({"rounding"})

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return EXPORT
