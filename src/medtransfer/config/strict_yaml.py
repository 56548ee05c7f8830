"""A text goes in; the plain values that it writes down in YAML come out, each key once and nothing that grows."""

import reprlib
from typing import Any

import yaml

DEEPEST = 50  # that values in a file may be nested
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is there


class _Loader(_Safe):
    """Reads plain values only; a key that stands twice is refused, since one of its values would silently be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise ValueError(f"the key {reprlib.repr(twice)} stands twice")
        return found


def parse_yaml(text: str) -> Any:
    """Read YAML of plain values.

    Raises:
        ValueError: it is no YAML, is nested too deep, names a key twice, asks for Python objects, or has an alias, by which a
            short text could stand for a value of any size.
    """
    try:
        _refuse_growth(text)
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as fault:
        raise ValueError(" ".join(str(fault).split())) from None
    except (RecursionError, OverflowError, TypeError, AttributeError) as fault:  # a TypeError comes from a key that is a list
        raise ValueError(str(fault) or type(fault).__name__) from None


def _refuse_growth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, _Safe):
        mark: Any = event.start_mark  # the stubs are not of one mind whether there is one
        line = mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line} has the alias *{event.anchor}; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"line {line} is nested more than {DEEPEST} deep")
