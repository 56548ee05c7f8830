"""A model folder with all weights, of a frozen encoder too, which `load_model` and `predict` take without any checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medtransfer.export.interface import graph_interface
from medtransfer.hashing import file_sha256
from medtransfer.records import MODEL_FILE, WEIGHTS_FILE, ModelInfo, write_tensors

if TYPE_CHECKING:
    from medtransfer.predict.model import Model


class WholeFolder:
    """`model.json` and the weights."""

    file: ClassVar[str] = "."
    registered: ClassVar[bool] = False

    def require(self) -> None:
        """Need nothing."""

    def interface(self, info: ModelInfo) -> dict[str, dict[str, Any]]:
        """Describe the network inside; `load_model` does what comes before it."""
        return graph_interface(info)

    def write(self, model: "Model", folder: Path) -> None:
        """Write the folder."""
        tensors = model.network.state_dict()
        write_tensors(folder / WEIGHTS_FILE, tensors)
        parts = list(dict.fromkeys(name.split(".")[0] for name in tensors))
        replace(model.info, parts=parts, weights=file_sha256(folder / WEIGHTS_FILE)).write(folder / MODEL_FILE)

    def difference(self, model: "Model", folder: Path) -> float:
        """Load the folder, and compare its predictions."""
        from medtransfer.export.graph import graph_difference, probabilities_of
        from medtransfer.predict.model import load_model

        loaded = load_model(folder, accelerator="cpu")
        return graph_difference(model, lambda pixels: probabilities_of(loaded, pixels))
