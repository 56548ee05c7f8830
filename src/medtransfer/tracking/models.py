"""Models in MLflow's own format, and versions of the registered model of a target."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.tracking import store

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient

ALIAS = "champion"  # of the version that was exported last
FOLDER = "model"  # among the artifacts of a run


def save_model(
    folder: Path, data: Path, *, loader: str, code: Path, interface: Mapping[str, Mapping[str, Any]], example: "np.ndarray",
    requirements: Sequence[str],
) -> None:  # fmt: skip
    """Write an MLflow model.

    Args:
        folder: empty folder to write to.
        data: folder that the model is loaded from; it is copied.
        loader: module whose `_load_pyfunc(data)` loads it.
        code: package that holds the loader; it is copied, and imported instead of an installed one.
        interface: `input`, `output` with their `dtype` and `shape`, and the defaults of `params`.
        example: an input.
        requirements: pinned packages that the code needs.
    """
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    def spec(tensor: Mapping[str, Any]) -> Schema:
        return Schema([TensorSpec(np.dtype(tensor["dtype"]), [-1 if side is None else side for side in tensor["shape"]])])

    params = ParamSchema([ParamSpec(name, DataType.string, value) for name, value in interface["params"].items()])
    signature = ModelSignature(spec(interface["input"]), spec(interface["output"]), params)
    mlflow.pyfunc.save_model(
        str(folder), loader_module=loader, data_path=str(data), code_paths=[str(code)], signature=signature,
        input_example=example, pip_requirements=list(requirements),
    )  # fmt: skip


def load_saved_model(folder: Path) -> "Callable[[np.ndarray, dict[str, str]], np.ndarray]":
    """Load an MLflow model; return its `predict(images, params)`."""
    import mlflow.pyfunc

    paths = list(sys.path)
    try:
        model = mlflow.pyfunc.load_model(str(folder))
    finally:
        sys.path[:] = paths  # MLflow puts the model's copy of the code first, for good
    return lambda images, params: model.predict(images, params=params)


def refusal(message: str) -> Exception:
    """Return the exception whose message MLflow's server answers, with the status 400; to others it answers a traceback."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    return MlflowException(message, INVALID_PARAMETER_VALUE)


def register_model(name: str, run: str, tags: Mapping[str, str]) -> str:
    """Register the model of a run under a name, unless it is registered, and let the alias refer to it.

    Args:
        name: name of the registered model, which is created if it does not exist.
        run: id of the run that holds the model.
        tags: tags of a new version.

    Returns:
        The number of the version.
    """
    return store.ask(store.connect(), lambda client: _register(client, name, run, tags))


def _register(client: "MlflowClient", name: str, run: str, tags: Mapping[str, str]) -> str:
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    if versions:
        number = str(versions[0].version)
    else:
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        number = str(client.create_model_version(name, f"runs:/{run}/{FOLDER}", run, tags=dict(tags)).version)
    client.set_registered_model_alias(name, ALIAS, number)
    return number
