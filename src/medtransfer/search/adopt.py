"""A setting and params.yaml go in; the same file with the setting in its section `score`, all else untouched, comes out."""

from dataclasses import fields
from pathlib import Path

import yaml

from medtransfer.errors import InputError
from medtransfer.records import write_text
from medtransfer.search.evaluate import Setting


def adopt(path: Path, setting: Setting) -> None:
    """Write a setting where `score` reads its defaults.

    Only the four values change: the rest of the file stays as it is, byte for byte, comments in their columns.

    Raises:
        InputError: the file cannot be read, or has no section `score` with these four keys.
    """
    text = _read(path)
    places = _places(path, text)
    for name, (begin, end) in sorted(places.items(), key=lambda place: place[1], reverse=True):
        text = _replace(text, begin, end, as_yaml(getattr(setting, name)))
    write_text(path, text)


def as_yaml(value: object) -> str:
    """Write one value of a setting as YAML reads it back."""
    return yaml.safe_dump(value).splitlines()[0]


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return handle.read()
    except (OSError, ValueError) as fault:
        raise InputError(f"expected the parameter file {path.resolve()}, but it cannot be read ({fault})") from None


def _places(path: Path, text: str) -> dict[str, tuple[int, int]]:
    """Find where the four values of the section `score` stand in the text."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    section = _entries(root).get("score")
    entries = _entries(section)
    names = [one.name for one in fields(Setting)]
    if lacking := [name for name in names if not isinstance(entries.get(name), yaml.ScalarNode)]:
        raise InputError(f"expected score.{lacking[0]} in {path}, but it is not there; add it")
    return {name: (entries[name].start_mark.index, entries[name].end_mark.index) for name in names}


def _entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}


def _replace(text: str, begin: int, end: int, value: str) -> str:
    """Put a value in place of another; a comment behind it keeps its column where there is room."""
    rest = text[end:]
    line = rest.splitlines()[0] if rest else ""
    spaces = len(line) - len(line.lstrip(" "))
    if line.lstrip(" ").startswith("#"):
        room = max(1, spaces + (end - begin) - len(value))
        return text[:begin] + value + " " * room + rest[spaces:]
    return text[:begin] + value + rest
