"""Contract of a format that a fine-tuned model is exported to.

To add a format, write its file in `formats/`, and add one line to FORMATS and its name to `format` in config/schema/using.py;
tests/export covers every entry.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from medtransfer.predict.model import Model
    from medtransfer.records import ModelInfo


class Format(Protocol):
    """A format; its module imports PyTorch and the libraries of the format inside its methods, since a finished export needs none.

    Attributes:
        file: what other programs open, below the export's folder; `.` for the folder itself.
        registered: whether the export becomes a version of the registered model of its target.
    """

    file: ClassVar[str]
    registered: ClassVar[bool]

    def require(self) -> None:
        """Check that the libraries of the format are installed.

        Raises:
            InputError: one is not.
        """

    def interface(self, info: "ModelInfo") -> dict[str, dict[str, Any]]:
        """Describe `input` and `output`: `dtype`, `shape` with null for any number, and `meaning`.

        Raises:
            InputError: the model lacks what the format needs.
        """

    def write(self, model: "Model", folder: Path) -> None:
        """Write the model, all of its weights included, to an empty folder."""

    def difference(self, model: "Model", folder: Path) -> float:
        """Run what was written, and return the largest absolute difference of its probabilities from those of the model."""
