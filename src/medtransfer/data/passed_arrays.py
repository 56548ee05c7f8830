"""Images, features and groups that a caller of the package passes: arrays, tensors, pandas' columns or lists."""

from collections.abc import Hashable, Iterable, Mapping, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

UNSUPPORTED = (np.uint16, np.uint32, np.uint64, np.longdouble)  # by PyTorch, at least by some of its operations


def to_tensor(values: Any, expected: str) -> Tensor:
    """Return a tensor of the real numbers that a caller passed.

    Args:
        values: a dense tensor, which stays on its device, a list of tensors of one shape, or whatever NumPy makes an array of
            numbers of. Masked values become NaN.
        expected: what it should be, for the message.

    Returns:
        A tensor without gradients, of the type of the values; float64 where PyTorch or NumPy has none for them.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(values, list | tuple) and values and all(isinstance(value, Tensor) for value in values):
        shapes = sorted({tuple(value.shape) for value in values})
        if len(shapes) > 1:
            raise ValueError(f"expected {expected}, but got tensors of the shapes {shapes[0]} and {shapes[1]}; pass one tensor")
        values = torch.stack([to_tensor(value, expected).to(values[0].device) for value in values])
    if not isinstance(values, Tensor):
        return torch.from_numpy(_to_array(values, expected))
    if values.layout != torch.strided or values.is_nested or values.is_quantized or values.is_meta or values.is_complex():
        kind = "a tensor without values" if values.is_meta else f"a tensor of {values.dtype} and of the layout {values.layout}"
        raise ValueError(f"expected {expected}, but got {kind}; convert it to a dense tensor of real numbers")
    return values.detach().double() if values.dtype in (torch.uint16, torch.uint32, torch.uint64) else values.detach()


def _to_array(values: Any, expected: str) -> np.ndarray:
    """Return a contiguous, writable array of numbers in the byte order of the machine, as PyTorch wants them."""
    try:
        if np.ma.is_masked(values):
            values = values.astype(np.float64).filled(np.nan)
        array = np.asarray(values)
        if array.dtype.kind in "OSU":
            array = array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"expected {expected}, but got a value of type {type(values).__name__}, of which NumPy makes none ({reason})"
        ) from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected {expected}, but got values of type {array.dtype}; convert them to real numbers")
    kind = np.float64 if array.dtype.newbyteorder("=").type in UNSUPPORTED else array.dtype.newbyteorder("=")
    return np.require(array, kind, ["C", "W"])


def to_image_array(images: Any, expected: str) -> np.ndarray:
    """Return images that a caller passed as an array of the same type, since uint8 means other values than floats.

    Args:
        images: an array of real numbers without masked values, or a dense tensor on any device; bfloat16 becomes float32.
        expected: what it should be, for the message.

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(images, np.ndarray | Tensor):
        raise ValueError(
            f"expected {expected}, but got a value of type {type(images).__name__}; pass an array, such as "
            "np.stack([np.asarray(image) for image in images]), or predict files with medtransfer.predict"
        )
    array: np.ndarray
    if isinstance(images, np.ndarray):
        array = images
    else:
        try:
            array = (images.float() if images.dtype == torch.bfloat16 else images).detach().cpu().numpy()  # NumPy has no bfloat16
        except (RuntimeError, TypeError):  # a sparse or quantised tensor, or one without values
            raise ValueError(f"expected {expected}, but got a tensor of the layout {images.layout}; pass a dense one") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected {expected}, but got values of type {array.dtype}; convert them, such as by .astype(np.float32)")
    if np.ma.is_masked(array):
        raise ValueError(f"expected {expected}, but got an array with masked values; fill them in, such as by .filled(0)")
    return np.asarray(array)


def group_numbers(groups: Any, count: int) -> np.ndarray:
    """Return the number of each image's group, in the order of their first images.

    Groups are equal by value, whatever holds them: elements of a tensor would only equal themselves.

    Args:
        groups: an array, tensor or pandas Series (N,), or an iterable of N scalars, tuples of them, or tensors of no dimension.
        count: N, the number of images.

    Returns:
        int64 (N,), numbers from 0 on.

    Raises:
        ValueError: the groups have another shape or are not one per image, or one is missing or no scalar.
    """
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in _group_values(groups, count)], dtype=np.int64)


def _group_values(groups: Any, count: int) -> list[Hashable]:
    shape = getattr(groups, "shape", None)
    ordered = isinstance(groups, Iterable) and not isinstance(groups, str | bytes | Mapping | Set)
    if not ordered or (shape is not None and len(shape) != 1):
        got = f"the shape {tuple(shape)}" if shape is not None else f"a value of type {type(groups).__name__}"
        raise ValueError(f"expected the groups as an array or list (N,), one per image, but got {got}; pass one scalar per image")
    values = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if len(values) != count:
        raise ValueError(f"expected the group of each of {count} images, but got {len(values)} groups")
    return [_group_value(value, index) for index, value in enumerate(values)]


def _group_value(value: Any, index: int) -> Hashable:
    if isinstance(value, tuple):
        return tuple(_group_value(part, index) for part in value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if value is None or _is_nan(value):
        raise ValueError(f"expected a group of every image, but image {index}, counted from 0, has {value}; name one of its own")
    if hasattr(value, "shape") or not isinstance(value, Hashable):
        raise ValueError(
            f"expected a scalar such as a number or a name as the group of each image, but image {index}, counted from 0, has a "
            f"value of type {type(value).__name__}; pass one scalar per image"
        )
    return value


def _is_nan(value: Any) -> bool:
    try:
        return bool(value != value)
    except (TypeError, ValueError, RuntimeError):  # pandas' NA is neither equal nor unequal; arrays are refused by their shape
        return type(value).__name__ == "NAType"
