"""Read the arrays of `medtransfer indicators`, and refuse those that cannot be what they are given as."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.errors import InputError
from medtransfer.indicators.array_keys import KEYS, option
from medtransfer.records import IGNORE, map_array

REMEDY = "save it by numpy.save as numbers"
MOST_CLASSES = 255
SHAPES = {
    "features": ("(N, D) or (N, V, D)", (2, 3)), "features2": ("(N, D) or (N, V, D)", (2, 3)), "labels": ("(N,)", (1,)),
    "label_embeddings": ("(C, E) or (K, C, E)", (2, 3)),
    "groups": ("(N,)", (1,)), "probs": ("(N, Z)", (2,)), "maps": ("(n, D, h, w)", (4,)), "masks": ("(n, H, W)", (3,)),
}  # fmt: skip
NUMBERS = {"features", "features2", "probs", "maps", "label_embeddings"}  # the others are whole numbers
SWAPPED = [("features", "labels"), ("probs", "labels"), ("features", "groups"), ("maps", "masks")]


@dataclass(frozen=True)
class Arrays:
    """Checked arrays.

    Attributes:
        values: arrays by the names in `ArrayIndicator.arguments`; floats are finite float64, masks on the grid of the maps.
        paths: file of each given array.
        nonfinite: samples, views or pixels with a NaN or an infinity, by the same names; they are zeros in `values`.
    """

    values: dict[str, NDArray[Any]]
    paths: dict[str, Path]
    nonfinite: dict[str, int] = field(default_factory=dict)


def read_arrays(paths: Mapping[str, Path | None]) -> Arrays:
    """Read and check the given files.

    Args:
        paths: files by key of FILES, None for those not given.

    Raises:
        InputError: a file is no array of the expected shape and values, or two do not fit each other.
    """
    given = {name: path for name, path in paths.items() if path is not None}
    raw = {name: map_array(path, REMEDY) for name, path in given.items()}
    for numbers, wholes in SWAPPED:
        if numbers in raw and wholes in raw:
            _check_not_swapped(numbers, wholes, raw, given)
    for name, array in raw.items():
        shape, dimensions = SHAPES[name]
        if array.ndim not in dimensions or not array.size:
            raise InputError(f"expected {name} {shape} in {given[name]}, but got the shape {array.shape}; correct the array")
    arrays = Arrays({}, given)
    for name, array in raw.items():
        arrays.values[name] = _numbers(name, array, arrays) if name in NUMBERS else _wholes(name, array, given[name])
    _check_lengths(arrays)
    _add_views(arrays)
    _add_groups(arrays)
    if {"maps", "masks"} <= arrays.values.keys():
        arrays.values["masks"] = _on_grid(arrays)
    return arrays


def computable(arrays: Arrays) -> list[str]:
    """Return the keys of the indicators whose arrays are given.

    Raises:
        InputError: there is none, or an array is used by none.
    """
    keys = [key for key, indicator in KEYS.items() if arrays.values.keys() >= set(indicator.arguments)]
    used = {"groups", *(name for key in keys for name in KEYS[key].needs)}
    if unused := [name for name in arrays.paths if name not in used]:
        name = unused[0]
        beside = dict.fromkeys(other for entry in KEYS.values() if name in entry.needs for other in entry.needs if other != name)
        others = " or ".join(map(option, beside))
        raise InputError(f"expected {others} beside {option(name)}, but got {arrays.paths[name]} alone; add it, or see --help")
    if not keys:
        raise InputError("expected --features, --probs or --maps, but got none; see --help for what each indicator needs")
    return keys


def _check_not_swapped(numbers: str, wholes: str, raw: Mapping[str, NDArray[Any]], paths: Mapping[str, Path]) -> None:
    first, second = raw[numbers].ndim, raw[wholes].ndim
    if first in SHAPES[wholes][1] and second in SHAPES[numbers][1]:
        raise InputError(
            f"expected {numbers} {SHAPES[numbers][0]} in {paths[numbers]} and {wholes} {SHAPES[wholes][0]} in {paths[wholes]}, but "
            f"got the shapes {raw[numbers].shape} and {raw[wholes].shape}; --{numbers} and --{wholes} are swapped"
        )


def _numbers(name: str, array: NDArray[Any], arrays: Arrays) -> NDArray[np.float64]:
    """Return float64 values with zeros for samples, or pixels, that are not finite, and count these."""
    values = np.array(array, dtype=np.float64)
    broken = ~np.isfinite(values).all(axis=1 if name == "maps" else -1, keepdims=True)  # 1 instead of D
    if broken.all():
        raise InputError(
            f"expected finite numbers in {arrays.paths[name]}, but each of the {broken.size} rows has a NaN or an infinity; "
            "correct the array"
        )
    if broken.any() and name == "probs":
        raise InputError(
            f"expected probabilities in {arrays.paths[name]}, but {broken.sum()} rows have a NaN or an infinity; remove the samples"
        )
    arrays.nonfinite[name] = int(broken.sum())
    return np.where(broken, 0.0, values)


def _wholes(name: str, array: NDArray[Any], path: Path) -> NDArray[np.int64]:
    """Return whole numbers as int64; masks must not be negative."""
    low = 0 if name == "masks" else -(2**53)
    with np.errstate(invalid="ignore"):
        wrong = ~((array == np.floor(array)) & (array >= low) & (array <= 2**53))
    if wrong.any():
        kind = "whole numbers from 0 on" if name == "masks" else "whole numbers"
        raise InputError(
            f"expected {kind} as {name} in {path}, but {wrong.sum()} of {wrong.size} are not, such as {array[wrong].ravel()[0]}; "
            f"pass the numbers of classes"
        )
    return array.astype(np.int64)


def _check_lengths(arrays: Arrays) -> None:
    """Refuse arrays of different numbers of samples, or of images, and views of another width."""
    values, paths = arrays.values, arrays.paths
    for first, *others in (("features", "features2", "labels", "probs"), ("labels", "probs"), ("maps", "masks")):
        for other in others:
            if first in values and other in values and len(values[first]) != len(values[other]):
                shapes = f"the shapes {values[first].shape} and {values[other].shape}"
                turned = values[first].ndim == 2 and len(values[other]) == values[first].shape[1]
                raise InputError(
                    f"expected as many {other} in {paths[other]} as {first} in {paths[first]}, but got {shapes}; "
                    + (f"transpose {first}" if turned else "take them from the same samples in the same order")
                )
    if {"labels", "label_embeddings"} <= values.keys():
        classes, labels = values["label_embeddings"].shape[-2], values["labels"]
        if labels.min() < 0 or labels.max() >= classes:
            raise InputError(
                f"expected labels from 0 to {classes - 1}, the rows of {paths['label_embeddings']}, but got {labels.min()} to "
                f"{labels.max()} in {paths['labels']}; embed every class"
            )
    if {"features", "features2"} <= values.keys() and values["features"].shape[-1] != values["features2"].shape[-1]:
        raise InputError(
            f"expected views of one width, but got {values['features'].shape} in {paths['features']} and "
            f"{values['features2'].shape} in {paths['features2']}; take them from the same encoder"
        )
    if {"maps", "masks"} <= values.keys() and (np.array(values["masks"].shape[1:]) < values["maps"].shape[2:]).any():
        raise InputError(
            f"expected masks in {paths['masks']} at least as large as the maps in {paths['maps']}, but got the shapes "
            f"{values['masks'].shape} and {values['maps'].shape}; pass the masks at the size of the images"
        )


def _add_views(arrays: Arrays) -> None:
    """Add the second views as `pair`, and all views as `views` and `all_views`; `features` are the first of several."""
    values, nonfinite = arrays.values, arrays.nonfinite
    first, second = values.get("features"), values.get("features2")
    several = [name for name in ("features", "features2") if name in values and values[name].ndim == 3]
    if len(several) == 2 or (several == ["features"] and second is not None):
        raise InputError(
            f"expected views either in {arrays.paths['features']} or in {arrays.paths['features2']}, but got the shapes "
            f"{values['features'].shape} and {values['features2'].shape}; leave one out"
        )
    if several and values[several[0]].shape[1] < 2:
        shape = values[several[0]].shape
        raise InputError(f"expected V >= 2 views (N, V, D) in {arrays.paths[several[0]]}, but got the shape {shape}; pass (N, D)")
    if several:
        values["views"], nonfinite["views"] = values[several[0]], nonfinite[several[0]]
    elif first is not None and second is not None:
        values |= {"pair": second, "views": np.stack([first, second], axis=1)}
        nonfinite |= {"pair": nonfinite["features2"], "views": nonfinite["features"] + nonfinite["features2"]}
    if several == ["features"] and first is not None:
        values |= {"features": first[:, 0], "pair": first[:, 1]}
    if first is not None:
        values["all_views"] = values.get("views", first[:, None])  # (N, V, D)
        nonfinite["all_views"] = nonfinite["views" if "views" in values else "features"]


def _add_groups(arrays: Arrays) -> None:
    """Add the groups of samples and of images, each its own if none are given."""
    values = arrays.values
    groups = values.pop("groups", None)
    names = {"samples": "features", "images": "maps"}
    for kind, of in names.items():
        if of not in values:
            continue
        count = len(values[of])
        if groups is not None and len(groups) != count:
            raise InputError(
                f"expected the group of each of {count} {kind} in {arrays.paths['groups']}, as in {arrays.paths[of]}, but got "
                f"{len(groups)}; pass one group each" + (", and features and maps one by one" if "maps" in values else "")
            )
        values[kind] = np.arange(count) if groups is None else groups
    if groups is not None and not names.keys() & values.keys():
        raise InputError(f"expected --features or --maps beside --groups, but got {arrays.paths['groups']} alone; add it")


def _on_grid(arrays: Arrays) -> NDArray[np.int64]:
    """Bring masks to the grid of the maps by the class that covers most of a cell."""
    import torch

    from medtransfer.indicators.samples.labelled_pixels import to_grid

    masks, (height, width) = arrays.values["masks"], arrays.values["maps"].shape[2:]
    foreground = np.setdiff1d(np.unique(masks), [0, IGNORE])
    if len(foreground) >= MOST_CLASSES:
        raise InputError(
            f"expected fewer than {MOST_CLASSES} classes in {arrays.paths['masks']}, but got {len(foreground)}; "
            "number classes, not objects"
        )
    numbered = np.searchsorted(foreground, masks) + 1
    numbered[masks == 0], numbered[masks == IGNORE] = 0, IGNORE
    grids = [to_grid(torch.from_numpy(mask[None]), len(foreground) + 1, height, width)[0] for mask in numbered]
    return np.concatenate(grids)
