"""What differs between the settings that a target was prepared by and others."""

from typing import Any

import pytest

from medtransfer.errors import InputError
from medtransfer.prepare import settings
from medtransfer.prepare.settings import describe_differing, settings_of


def given(**others: Any) -> dict[str, Any]:
    return settings_of(**{
        "reader": "folder", "size": (64, 48), "subset": False, "split": "auto", "validation": 0.0, "allow_duplicates": False,
        "options": {"labels": {1: "lesion"}, "group": None}, **others,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ({}, ""),
        ({"size": [64, 48]}, ""),
        ({"size": (64, 64)}, "size [64, 48], now [64, 64]"),
        ({"split": "none", "subset": True}, "subset False, now True, split 'auto', now 'none'"),
        ({"options": {"labels": {1: "lesion"}}}, "options.group None, now not set"),
        ({"options": {"labels": {1: "node"}, "group": None}}, "options.labels {'1': 'lesion'}, now {'1': 'node'}"),
        ({"options": {"labels": {1: "lesion"}, "group": None, "masks": "m"}}, "options.masks not set, now 'm'"),
    ],
)  # fmt: skip
def test_what_differs_is_named(others: dict[str, Any], text: str) -> None:
    assert describe_differing(given(), given(**others)) == text


def test_what_long_values_differ_in_is_not_cut_off() -> None:
    names = [f"finding {number}" for number in range(9)]
    text = describe_differing(given(options={"classes": names}), given(options={"classes": [*names[:-1], "other"]}))
    assert text.startswith("options.classes ['finding 0', ") and text.endswith("'finding 7', 'other']") and "finding 8" in text
    text = describe_differing(given(options={"classes": names}), given(options={"classes": names[::-1]}))
    assert "..." in text and len(text) < 250


def test_another_version_of_the_readers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = given()
    monkeypatch.setattr(settings, "REVISION", settings.REVISION + 1)
    assert describe_differing(earlier, given()) == "the version of its reader"


def test_values_that_no_record_can_hold_are_refused() -> None:
    with pytest.raises(InputError, match="expected plain values and finite numbers"):
        given(options={"window": float("nan")})


@pytest.mark.parametrize(("reader", "again"), [("dicom", True), ("siim", True), ("rsna-pe", True), ("nifti", False)])
def test_targets_of_readers_of_dicom_are_prepared_again(reader: str, again: bool) -> None:
    """Revision 3 was that of all readers; MONOCHROME1 and padding are read otherwise since then."""
    stored = {**given(reader=reader), "revision": 3}
    assert describe_differing(stored, given(reader=reader)) == ("the version of its reader" if again else "")
