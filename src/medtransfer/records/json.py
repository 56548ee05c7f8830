"""Strict JSON."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; NaN, infinities, a key that stands twice and nesting without end are ValueErrors."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice")
        return found

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON number")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
