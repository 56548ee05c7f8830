"""Strict YAML: plain values only, no duplicate keys, no aliases, bounded nesting."""

import reprlib
from typing import Any

import yaml

MAX_DEPTH = 50  # levels of nesting
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, if libyaml is available


class _Loader(_Safe):
    """Loader of plain values that refuses duplicate keys, of which one value would silently be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
            duplicate = next(key for index, key in enumerate(keys) if key in keys[:index])
            raise ValueError(f"the key {reprlib.repr(duplicate)} appears twice")
        return mapping


def parse_yaml(text: str) -> Any:
    """Parse YAML of plain values.

    Raises:
        ValueError: it is not YAML, is nested too deeply, has a duplicate key or Python objects, or has an alias, by which a
            short text could expand to a value of any size.
    """
    try:
        _check_structure(text)
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except (RecursionError, OverflowError, TypeError, AttributeError) as error:  # a key that is a list raises TypeError
        raise ValueError(str(error) or type(error).__name__) from None


def _check_structure(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, _Safe):
        mark: Any = event.start_mark  # types-PyYAML declares start_mark inconsistently
        line = mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line} has the alias *{event.anchor}; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"line {line} is nested more than {MAX_DEPTH} deep")
