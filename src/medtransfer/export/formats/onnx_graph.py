"""An ONNX file, which ONNX Runtime and others run without PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from medtransfer.errors import InputError
from medtransfer.export.interface import PIXELS, PROBABILITIES, graph_interface
from medtransfer.records import ModelInfo

if TYPE_CHECKING:
    from medtransfer.predict.model import Model


class OnnxGraph:
    """`model.onnx`."""

    file: ClassVar[str] = "model.onnx"
    registered: ClassVar[bool] = False

    def require(self) -> None:
        """Check that the packages of ONNX are installed."""
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"expected the packages of the extra `onnx` for the format onnx, but {error.name} cannot be imported; install them "
                "with `pip install 'medtransfer[onnx]'`"
            ) from None

    def interface(self, info: ModelInfo) -> dict[str, dict[str, Any]]:
        """Describe the graph."""
        return graph_interface(info)

    def write(self, model: "Model", folder: Path) -> None:
        """Trace the model, convert it to one file, and let ONNX check it."""
        import onnx
        import torch

        from medtransfer.export.graph import trace

        path = folder / self.file
        torch.onnx.export(
            trace(model), f=path, dynamo=True, verbose=False, external_data=False,
            input_names=[PIXELS], output_names=[PROBABILITIES], dynamic_shapes={PIXELS: {0: "batch"}},  # the name of the axis
        )  # fmt: skip
        onnx.checker.check_model(path, full_check=True)

    def difference(self, model: "Model", folder: Path) -> float:
        """Run the file in ONNX Runtime on the CPU, and compare its predictions."""
        from onnxruntime import InferenceSession

        from medtransfer.export.graph import graph_difference

        session = InferenceSession(folder / self.file, providers=["CPUExecutionProvider"])
        return graph_difference(model, lambda pixels: session.run([PROBABILITIES], {PIXELS: pixels})[0])
