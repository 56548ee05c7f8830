"""Registry of what starts the jobs of a grid; the contract is `medtransfer.grid.launcher.Start`."""

from typing import Any

from medtransfer.registry import Registry

LAUNCHERS: Registry[Any] = Registry({
    "local": "medtransfer.grid.local:start",
    "ray": "medtransfer.grid.cluster:start",
    "slurm": "medtransfer.grid.slurm:start",
})  # fmt: skip
