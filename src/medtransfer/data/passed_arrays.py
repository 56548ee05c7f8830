"""Groups and features that a caller of the package passes: arrays, tensors, pandas' columns or lists."""

from collections.abc import Hashable, Iterable, Mapping, Set
from typing import Any

import numpy as np


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
