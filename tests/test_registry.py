import math

from medtransfer.registry import Registry


def test_entries_are_imported_and_made_once_when_they_are_looked_up():
    made = []
    registry = Registry({"pi": "math:pi", "gone": "no.such.module:thing"}, make=lambda entry: made.append(entry) or entry)
    assert list(registry) == ["pi", "gone"] and "gone" in registry and "e" not in registry
    assert (registry["pi"], registry.get("pi"), registry.get("e")) == (math.pi, math.pi, None)
    registry["gone"] = 2.0
    assert list(registry.items()) == [("pi", math.pi), ("gone", 2.0)]
    assert made == [math.pi]
