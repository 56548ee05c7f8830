"""Contract of what a launcher runs."""

from collections.abc import Set
from typing import Any, Protocol

from medtransfer.config import Params


class Runnable(Protocol):
    """A piece of work that any launcher can send to a worker; it is pickled, and compares by value."""

    @property
    def name(self) -> str:
        """Readable name."""
        ...

    @property
    def kind(self) -> str:
        """What it is like: `prepare`, `pretrain`, `score` or `finetune`; `grid.resources` says what each takes."""
        ...

    @property
    def needs(self) -> Set[Any]:
        """Those that must be done before."""
        ...

    def run(self, params: Params) -> None:
        """Do the work in this process, or reuse its finished result."""

    def devices(self, params: Params) -> int:
        """Return the number of devices that it computes on."""

    def needs_gpu(self, params: Params) -> bool:
        """Return whether it uses a GPU where there is one."""
