"""Lightning Fabric, imported without PyTorch's compiler and without torchmetrics, which would take two seconds of CPU each.

Of torchmetrics it asks the version alone, by importing it where it is installed; that imports transformers and SciPy's signals.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from lightning_utilities.core import imports

from medtransfer.encoders.without_compiler import without_compiler


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


with _asking_metadata(), without_compiler():
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
