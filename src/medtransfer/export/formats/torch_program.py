"""A program of torch.export, which PyTorch runs without the code of the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medtransfer.export.interface import graph_interface
from medtransfer.records import ModelInfo

if TYPE_CHECKING:
    from medtransfer.predict.model import Model


class TorchProgram:
    """`model.pt2`."""

    file: ClassVar[str] = "model.pt2"
    registered: ClassVar[bool] = False

    def require(self) -> None:
        """Need nothing."""

    def interface(self, info: ModelInfo) -> dict[str, dict[str, Any]]:
        """Describe the graph."""
        return graph_interface(info)

    def write(self, model: "Model", folder: Path) -> None:
        """Trace the model and save the program."""
        import torch

        from medtransfer.export.graph import trace

        torch.export.save(trace(model), folder / self.file)

    def difference(self, model: "Model", folder: Path) -> float:
        """Load the program, and compare its predictions."""
        import torch

        from medtransfer.export.graph import graph_difference

        program = torch.export.load(folder / self.file).module()
        with torch.no_grad():
            return graph_difference(model, lambda pixels: program(torch.from_numpy(pixels)).numpy())
