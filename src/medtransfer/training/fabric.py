"""Lightning Fabric, imported without two packages that would take two seconds of CPU each.

- torchmetrics, of which it asks the version alone, by importing it where it is installed; that imports transformers and SciPy's
  signals.
- PyTorch's compiler, one of whose classes it compares modules with. An optimiser loads it, but inference does without.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from types import ModuleType
from typing import Any

import torch  # noqa: F401  # whose compiler is stood in for below
from lightning_utilities.core import imports

COMPILER = "torch._dynamo"


class _CompiledType(type):
    """Type of a stand-in for `torch._dynamo.OptimizedModule`: before the compiler is loaded, nothing is compiled."""

    def __instancecheck__(cls, instance: object) -> bool:
        compiler = sys.modules.get(COMPILER)
        return compiler is not None and compiler.OptimizedModule is not cls and isinstance(instance, compiler.OptimizedModule)


class _Compiler(ModuleType):
    """Stands in for `torch._dynamo`, which it loads when anything else is asked of it."""

    OptimizedModule = _CompiledType("OptimizedModule", (), {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(COMPILER, None)
        return getattr(import_module(COMPILER), name)


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Within it, importing a class of PyTorch's compiler does not load it."""
    if COMPILER in sys.modules:
        yield
        return
    sys.modules[COMPILER] = stand_in = _Compiler(COMPILER)
    try:
        yield
    finally:
        if sys.modules.get(COMPILER) is stand_in:
            del sys.modules[COMPILER]


@contextmanager
def _asking_metadata() -> Iterator[None]:
    """Within it, Lightning compares the versions of packages that are not imported by their metadata."""
    by_import = getattr(imports, "compare_version", None)
    if by_import is None:  # another version of Lightning's utilities
        yield
        return

    def compare(package: str, op: Callable, version: str, use_base_version: bool = False) -> bool:
        if package in sys.modules:
            return by_import(package, op, version, use_base_version)
        try:
            found = imports.Version(installed(package))
        except PackageNotFoundError:
            return False
        return op(imports.Version(found.base_version) if use_base_version else found, imports.Version(version))

    imports.compare_version = compare
    try:
        yield
    finally:
        imports.compare_version = by_import


with _asking_metadata(), _without_compiler():
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import (
        ClusterEnvironment,
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )
    from lightning_fabric.utilities.exceptions import MisconfigurationException

__all__ = [
    "ClusterEnvironment", "Fabric", "LightningEnvironment", "MisconfigurationException", "SLURMEnvironment",
    "TorchElasticEnvironment",
]  # fmt: skip
