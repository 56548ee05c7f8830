"""Registry whose entries are imported when they are looked up, so that listing their names is instant."""

from collections import UserDict
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any, TypeVar

T = TypeVar("T")


class Registry(UserDict[str, T]):
    """Entries by name, in the order in which they are listed."""

    def __init__(self, addresses: Mapping[str, str], make: Callable[[Any], T] = lambda entry: entry) -> None:
        """Keep where the entries are defined.

        Args:
            addresses: `module:attribute` by name.
            make: makes the entry of what is defined there, at the first look-up.
        """
        super().__init__()
        self.data: dict[str, Any] = dict(addresses)
        self._make = make

    def __getitem__(self, name: str) -> T:
        """Return an entry, importing it first if it has not been looked up before."""
        if isinstance(self.data[name], str):
            self.data[name] = self._make(resolve_name(self.data[name]))
        entry: T = self.data[name]
        return entry

    def address(self, name: str) -> str | None:
        """Return where an entry is defined, as `module:attribute`; None once it has been imported."""
        entry = self.data[name]
        return entry if isinstance(entry, str) else None
