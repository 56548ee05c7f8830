"""Record of the prediction of one image: what it depends on, what was written, and what was measured."""

from dataclasses import dataclass, field
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
        digests: SHA-256 of the files that a reader may correct, by which a corrected one is recognised; while they are replaced,
            that of the earlier one and that of the new one. Empty in records of earlier versions.
        attempted: files that an interrupted prediction may have written, below the folder; empty once it is finished.
        series: SeriesInstanceUID of a DICOM series, and its SeriesNumber and SeriesDescription if it has them; else empty.
    """

    image: str
    key: str
    models: list[list[str]]
    outputs: dict[str, str]
    classes: list[dict[str, Any]]
    seconds: float
    digests: dict[str, list[str]] = field(default_factory=dict)
    attempted: list[str] = field(default_factory=list)
    series: dict[str, str] = field(default_factory=dict)

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return PREDICTION

    @classmethod
    def added(cls) -> frozenset[str]:
        """Return the fields that earlier versions did not write."""
        return frozenset({"digests", "attempted", "series"})
