"""Record of the prediction of one image: what it depends on, what was written, and what was measured."""

from dataclasses import dataclass
from typing import Any

from medtransfer.records.base import PREDICTION, Record


@dataclass(frozen=True)
class Prediction(Record):
    """Contents of `files/<image>.json`.

    Attributes:
        image: the image, as it was named.
        key: digest of the image, the models and everything else that the prediction depends on.
        models: folder and cell's key of each model.
        outputs: the files that were written, below the folder of the prediction, by kind.
        classes: one row per class: label, pixels, mm² and ml where the spacing is known.
        seconds: duration.
    """

    image: str
    key: str
    models: list[list[str]]
    outputs: dict[str, str]
    classes: list[dict[str, Any]]
    seconds: float

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return PREDICTION
