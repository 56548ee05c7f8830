"""File that an interrupted training resumes from: tensors, and texts in its header."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.records.atomic import atomic_path

if TYPE_CHECKING:
    from torch import Tensor


def write_state(path: Path, tensors: "Mapping[str, Tensor]", header: Mapping[str, str]) -> None:
    """Write tensors and texts atomically; tensors that share storage are copied."""
    from safetensors.torch import save_file

    with atomic_path(path) as partial:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, partial, metadata=dict(header))


def read_state(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read the tensors and the texts.

    Raises:
        ValueError: the file is missing or broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(str(error)) from None


def read_state_header(path: Path) -> dict[str, str]:
    """Read the texts alone; raises as `read_state`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(str(error)) from None
