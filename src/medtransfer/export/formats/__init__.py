"""Registry of export formats."""

from medtransfer.export.contract import Format
from medtransfer.registry import Registry

FORMATS: Registry[Format] = Registry(
    {
        "folder": "medtransfer.export.formats.whole_folder:WholeFolder",
        "torch": "medtransfer.export.formats.torch_program:TorchProgram",
        "onnx": "medtransfer.export.formats.onnx_graph:OnnxGraph",
        "mlflow": "medtransfer.export.formats.mlflow_model:MlflowModel",
    },
    make=lambda form: form(),
)
