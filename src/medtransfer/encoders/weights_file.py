"""Read the tensors of a weights file as training code saves it: a state dict, alone, nested, or beside others."""

import pathlib
import re
import warnings
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from medtransfer.errors import InputError
from medtransfer.records import BROKEN_ARRAYS, in_one_line
from medtransfer.records.untrusted import check_not_packed
from medtransfer.records.weights_file import check_weights_file

DEPTH = 4  # levels below the file's own in which state dicts are looked for, as deep as VISSL's; optimisers hold lists there
NAMED = 3  # names of each kind in a message
# Types of plain values that training code saves beside the tensors: its options, paths, and NumPy's scalars.
PLAIN: list[Any] = [
    Namespace, pathlib.PosixPath, np.dtype, *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"},
    (multiarray.scalar, "numpy._core.multiarray.scalar"), (multiarray.scalar, "numpy.core.multiarray.scalar"),
]  # fmt: skip


def read_weights(path: Path, allow_pickle: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a weights file.

    Args:
        path: a .safetensors file or a pickle, which holds a state dict directly or in dictionaries.
        allow_pickle: whether a pickle may be read; only tensors and plain values are unpickled (`weights_only`).

    Returns:
        The tensors by their names in the file. Of several state dicts, such as `student` and `teacher`, names begin with the
        dictionary's: `teacher.conv1.weight`.

    Raises:
        InputError: the file is missing, broken, of another kind, holds no tensors, or is a pickle that was not allowed.
    """
    check_weights_file(path, allow_pickle)
    return _unwrap(_read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, *BROKEN_ARRAYS) as error:
        raise InputError(
            f"expected weights in {path}, but they cannot be read ({in_one_line(error)}); get the file again"
        ) from None


def _read_pickle(path: Path) -> Any:
    try:
        check_not_packed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's warnings about a file are part of the message below
            with torch.serialization.safe_globals(PLAIN):
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken or hostile pickle raises nearly anything
        if held := re.search(r"Unsupported (?:global|class): (?:GLOBAL )?([\w.]+)", str(error)):
            raise InputError(
                f"expected tensors and nothing else in {path}, but it holds an object {held[1]}; save the tensors alone, as "
                "`torch.save(model.state_dict(), file)` does"
            ) from None
        raise InputError(
            f"expected tensors and nothing else in {path}, but it cannot be read ({in_one_line(error)}); get the file again or "
            "convert it to .safetensors"
        ) from None


def _unwrap(value: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dicts in the content of a file as one dictionary."""
    found = dict(_state_dicts(value))
    if not found:
        raise InputError(f"expected tensors by name in {path}, but got {_describe(value)}; name a file that holds one state dict")
    if len(found) == 1:
        tensors = next(iter(found.values()))
    else:
        tensors = {prefix + name: tensor for prefix, part in found.items() for name, tensor in part.items()}
    if unusable := [name for name, tensor in tensors.items() if not _is_plain(tensor)]:
        raise InputError(
            f"expected dense tensors of numbers in {path}, but {len(unusable)} are sparse, quantised or without content"
            f"{some(unusable)}; convert them"
        )
    return tensors


def _state_dicts(value: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every dictionary of tensors with the path to it, such as `teacher.`."""
    if not isinstance(value, dict) or not value or not all(isinstance(name, str) for name in value):
        return
    if all(isinstance(tensor, Tensor) for tensor in value.values()):
        yield prefix, value
    elif depth < DEPTH:
        for name, entry in value.items():
            yield from _state_dicts(entry, f"{prefix}{name}.", depth + 1)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta


def _describe(value: Any) -> str:
    if not isinstance(value, dict):
        return f"one {type(value).__name__}"
    others = sorted(str(name) for name, entry in value.items() if not isinstance(entry, Tensor))
    return f"a dictionary with other entries{some(others)}" if others else "nothing"


def some(names: list[str] | tuple[str, ...]) -> str:
    """Return the first names in parentheses."""
    return f" ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})" if names else ""
