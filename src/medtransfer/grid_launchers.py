"""Registry of what starts the jobs of a grid; the contract is `medtransfer.grid.launcher.LauncherKind`."""

from typing import Any

from medtransfer.registry import Registry

LAUNCHERS: Registry[Any] = Registry({
    "local": "medtransfer.grid.local:Local",
    "ray": "medtransfer.grid.cluster:Ray",
    "slurm": "medtransfer.grid.slurm:Slurm",
}, make=lambda kind: kind())  # fmt: skip
