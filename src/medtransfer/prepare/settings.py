"""The settings of a target as its record has them."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from medtransfer.errors import InputError

REVISION = 3  # of what the readers make of the same files; targets of an older one are prepared again
OF_READERS = dict.fromkeys(("dicom", "siim", "rsna-pe"), 1)  # further revisions of what one reader alone makes
ABSENT = "not set"


def settings_of(
    *, reader: str, size: Sequence[int], subset: bool, split: str | Mapping[str, Any], validation: float,
    allow_duplicates: bool, options: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return the settings of a target as its record has them; for the arguments see `prepare`.

    Raises:
        InputError: they hold other than plain values.
    """
    return _plain({
        "revision": REVISION + OF_READERS.get(reader, 0), "reader": reader, "size": list(size), "subset": subset, "split": split,
        "validation": validation, "allow_duplicates": allow_duplicates, "options": options,
    })  # fmt: skip


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings after a round trip through JSON, so that they compare equal to stored ones."""
    try:
        return json.loads(json.dumps(settings, allow_nan=False))  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        given = {name: settings[name] for name in ("options", "split")}
        raise InputError(
            f"expected plain values and finite numbers, but got {reprlib.repr(given)} ({error}); correct them"
        ) from None


def describe_differing(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return what differs between the settings of a prepared target and those of now, both as `settings_of` has them.

    Options of the reader are named one by one. Nothing differs where this is empty.
    """
    earlier, now = _flat(stored), _flat(settings)
    names = [name for name in {**now, **earlier} if earlier.get(name, ABSENT) != now.get(name, ABSENT)]
    return ", ".join(
        "the version of its reader" if name == "revision" else _describe(name, earlier, now) for name in names
    )  # fmt: skip


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the options of the reader among them, as `options.<name>`."""
    options = settings.get("options", {})
    if not isinstance(options, Mapping):
        return dict(settings)
    plain = {name: value for name, value in settings.items() if name != "options"}
    return plain | {f"options.{name}": value for name, value in options.items()}


def _describe(name: str, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return both values of a setting, shortened where they differ nevertheless."""
    for show in (reprlib.repr, repr):
        before, after = (show(settings[name]) if name in settings else ABSENT for settings in (earlier, now))
        if before != after:
            break
    return f"{name} {before}, now {after}"
