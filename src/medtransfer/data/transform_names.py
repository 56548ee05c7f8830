"""Names of albumentations' transforms, without importing it: it imports PyTorch, which takes seconds."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medtransfer.errors import InputError

KEY = "finetune.augmentation"
_EXPORTED = re.compile(r"^__all__ = (\[.*?\])", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"[A-Z]\w*")  # of a class; functions are exported, too


def check_names(specification: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    """Refuse transforms that albumentations does not have; whether others can be used shows when they are built.

    Args:
        specification: as for `Transforms`.

    Raises:
        InputError: there is one.
    """
    known = _exported_names()
    if known and (unknown := next((name for name in _named(specification) if name not in known), None)):
        raise unknown_transform(unknown, known)


def check_transforms(specification: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    """Refuse a specification that `Transforms` refuses, and unknown names before albumentations is imported.

    Raises:
        InputError: as `check_names` and `Transforms`.
    """
    check_names(specification)
    from medtransfer.data.transforms import Transforms

    Transforms(specification)


def unknown_transform(name: str, known: Sequence[str]) -> InputError:
    """Return the error for a name that no transform has, with those that are like it."""
    from difflib import get_close_matches

    close = ", ".join(get_close_matches(name, known, 3, 0.4)) or "HorizontalFlip, Affine, OneOf"
    return InputError(f"expected a transform of albumentations in {KEY}, such as {close}, but got {name!r}; correct it")


def _named(specification: Sequence[Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """Yield the names of transforms, with those in groups whose form is right."""
    for entry in specification:
        for name, arguments in entry.items():
            yield name
            parts = arguments.get("transforms")
            if isinstance(parts, list) and all(isinstance(part, dict) for part in parts):
                yield from _named([part for part in parts if all(isinstance(value, dict) for value in part.values())])


@cache
def _exported_names() -> tuple[str, ...]:
    """Return the classes that the modules of transforms export; empty where the package is laid out otherwise."""
    package = find_spec("albumentations")
    if package is None or not package.submodule_search_locations:
        return ()
    root = Path(package.submodule_search_locations[0])
    files = (*sorted(root.glob("augmentations/**/*.py")), *sorted(root.glob("core/*.py")))
    lists = (found[1] for file in files if (found := _EXPORTED.search(file.read_text(encoding="utf-8"))))
    names = {str(name) for exported in lists for name in ast.literal_eval(exported) if _NAME.fullmatch(str(name))}
    return tuple(sorted(names | {"NoOp"} if names else ()))
