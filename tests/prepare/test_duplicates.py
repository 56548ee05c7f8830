"""Duplicates: refused or noted across splits, counted inside a split; constant pictures are ignored."""

import numpy as np
import pytest

from medtransfer.errors import InputError
from medtransfer.prepare.duplicates import check_duplicates, hash_image

NAMES = ["p055", "p118", "p074"]


def test_the_hash_sees_every_pixel_and_skips_constant_pictures() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    other = image.copy()
    other[1, 1, 2] += 1
    assert hash_image(image) == hash_image(image.copy()) != hash_image(other)
    assert hash_image(np.full((4, 4, 1), 9, np.uint8)) is None


@pytest.mark.parametrize(
    ("hashes", "splits", "allow", "notes"),
    [
        (["x", "x", "y"], ["train", "test", "train"], True, ["1 images are in two splits, such as p055 (train) and p118 (test)"]),
        (["x", "x", "x"], ["train"] * 3, False, ["2 images are stored twice inside one split"]),
        ([None, None, "y"], ["train", "test", "test"], False, []),  # constant pictures
    ],
)
def test_what_is_allowed_is_noted(hashes: list[str | None], splits: list[str], allow: bool, notes: list[str]) -> None:
    found = check_duplicates(hashes, splits, NAMES, allow=allow)
    assert len(found) == len(notes) and all(one.startswith(note) for one, note in zip(found, notes, strict=True))


def test_a_duplicate_across_splits_names_both_sources() -> None:
    with pytest.raises(InputError, match=r"p055 \(train\) and p118 \(test\) hold the same image \(1 such.*allow_duplicates: true"):
        check_duplicates(["x", "x", "y"], ["train", "test", "train"], NAMES, allow=False)
    with pytest.raises(InputError, match=r"p055 \(train\) and p074 \(test\)"):
        check_duplicates(["x", "x", "x"], ["train", "train", "test"], NAMES, allow=False)
