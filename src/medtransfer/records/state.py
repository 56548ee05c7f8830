"""File that an interrupted training resumes from: tensors, and texts in its header."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.records.atomic import atomic_path
from medtransfer.records.json import parse_json

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
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(str(error)) from None


def read_progress(path: Path) -> dict[str, Any] | None:
    """Return the progress of a state file without reading its tensors; None if there is no readable one."""
    if not path.is_file():
        return None
    try:
        progress = parse_json(read_state_header(path)["progress"])
    except (ValueError, KeyError):
        return None
    return progress if _is_progress(progress) else None


def _is_progress(value: Any) -> bool:
    """Return whether a value has the fields of both trainings: last epoch, curves by metric, state of the precision, part."""
    if not isinstance(value, dict) or type(value.get("epoch")) is not int or not isinstance(value.get("precision"), dict):
        return False
    curves = value.get("curves")
    return isinstance(curves, dict) and all(isinstance(curve, list | dict) for curve in curves.values()) and _is_part(value)


def _is_part(progress: dict[str, Any]) -> bool:
    """Return whether progress says rightly which part of the next epoch is done, or nothing of one."""
    if "part" not in progress:
        return True
    match progress["part"]:
        case {"steps": int(steps), "total": float(), "count": int(count), "terms": dict(terms)} if min(steps, count) > 0:
            return len(progress["part"]) == 4 and all(isinstance(value, float) for value in terms.values())
    return False
