"""A program of torch.export, which PyTorch runs without the code of the model."""

from pathlib import Path
from typing import Any, ClassVar

import torch

from medtransfer.export.graph import graph_difference, graph_interface, trace
from medtransfer.predict.model import Model
from medtransfer.records import ModelInfo


class TorchProgram:
    """`model.pt2`."""

    file: ClassVar[str] = "model.pt2"
    registered: ClassVar[bool] = False

    def require(self) -> None:
        """Need nothing."""

    def interface(self, info: ModelInfo) -> dict[str, dict[str, Any]]:
        """Describe the graph."""
        return graph_interface(info)

    def write(self, model: Model, folder: Path) -> None:
        """Trace the model and save the program."""
        torch.export.save(trace(model), folder / self.file)

    def difference(self, model: Model, folder: Path) -> float:
        """Load the program, and compare its predictions."""
        program = torch.export.load(folder / self.file).module()
        with torch.no_grad():
            return graph_difference(model, lambda pixels: program(torch.from_numpy(pixels)).numpy())
