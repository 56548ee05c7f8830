"""What a value must be, in the words of the messages of this project, by the kinds of pydantic's errors."""

from collections.abc import Callable, Mapping
from typing import Any

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_PATTERNS = {NAME: "of letters, digits, dots, hyphens and underscores, the first a letter or a digit", r"^[^\x00]+$": "without NUL"}
_LIST, _MAPPING = "a list such as [A, B]", "a mapping of keys to values"
_KINDS = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text", "list": _LIST, "tuple": _LIST,
    "dict": _MAPPING, "model": _MAPPING, "dataclass": _MAPPING,
}  # fmt: skip
_MESSAGES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda limits: f"greater than {_number(limits['gt'])}",
    "greater_than_equal": lambda limits: f"at least {_number(limits['ge'])}",
    "less_than": lambda limits: f"less than {_number(limits['lt'])}",
    "less_than_equal": lambda limits: f"at most {_number(limits['le'])}",
    "finite_number": lambda limits: "a finite number",
    "literal_error": lambda limits: str(limits["expected"]),
    "string_pattern_mismatch": lambda limits: _PATTERNS.get(limits["pattern"], f"of the form {limits['pattern']}"),
    "string_too_short": lambda limits: f"of {limits['min_length']} or more characters",
    "string_too_long": lambda limits: f"of at most {limits['max_length']} characters",
    "too_short": lambda limits: f"of {limits['min_length']} or more entries",
    "too_long": lambda limits: f"of at most {limits['max_length']} entries",
}


def _number(limit: float) -> str:
    return f"{int(limit):,}" if limit == int(limit) else repr(limit)


def requirement(error: Mapping[str, Any]) -> str:
    """Return the requirement that a value does not meet, such as `must be a whole number`.

    Args:
        error: one of pydantic's errors. The messages of our own validators are kept.
    """
    kind, limits = str(error["type"]), error.get("ctx", {})
    if kind in _MESSAGES:
        return f"must be {_MESSAGES[kind](limits)}"
    if name := _KINDS.get(kind.split("_")[0]):
        return f"must be {name}"
    return str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
