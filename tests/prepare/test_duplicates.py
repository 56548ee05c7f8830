"""Duplicates: refused or named across splits, named inside a split; constant pictures are ignored."""

import numpy as np
import pytest

from medtransfer.errors import InputError
from medtransfer.prepare.duplicates import check_duplicates, describe_constant, find_duplicates, hash_image, join_groups
from medtransfer.prepare.readers.contract import Item

ITEMS = [Item(None, name, f"{name}.png", (), 1, lambda: ()) for name in ("p055", "p118", "p074")]


def check(images: str, labels: str, splits: list[str], allow: bool) -> list[str]:
    hashes = [None if letter == "-" else letter for letter in images]
    return check_duplicates(find_duplicates(hashes, labels), splits, ITEMS, allow)


def test_the_hash_sees_every_pixel_and_skips_constant_pictures() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    other = image.copy()
    other[1, 1, 2] += 1
    assert hash_image(image) == hash_image(image.copy()) != hash_image(other)
    assert hash_image(np.full((4, 4, 1), 9, np.uint8)) is None
    assert hash_image(np.tile(np.array([9, 0, 200], np.uint8), (4, 4, 1))) is None  # of one colour


def test_images_that_show_nothing_are_counted_but_not_empty_slices() -> None:
    volume, empty, full = ITEMS
    items = [volume, volume, empty, empty, full]
    (note,) = describe_constant([None, "x", None, None, "y"], items)
    assert note == "1 of 3 images hold one value only as they are stored, such as p118.png; leave out what should show something"
    assert describe_constant(["x", None, "y"], [volume, volume, full]) == []


@pytest.mark.parametrize(
    ("images", "labels", "splits", "allow", "notes"),
    [
        ("xxy", "aab", ["train", "test", "train"], True,
         ["1 image is in two splits, allowed by `allow_duplicates`: p055.png (train) and p118.png (test): 1"]),
        ("xxy", "abb", ["train", "train", "test"], False,
         ["1 image, 1 of them with other masks, is stored twice inside one split: "
          "p055.png (train) and p118.png (train): 1, 1 with other masks"]),
        ("xxx", "aab", ["train"] * 3, False,
         ["2 images, 1 of them with other masks, are stored twice inside one split: p055.png (train) and p118.png (train): 1; "
          "p055.png (train) and p074.png (train): 1, 1 with other masks"]),
        ("--y", "aab", ["train", "test", "test"], False, []),  # constant pictures
    ],
)  # fmt: skip
def test_pairs_are_named(images: str, labels: str, splits: list[str], allow: bool, notes: list[str]) -> None:
    assert check(images, labels, splits, allow) == notes


def test_a_duplicate_across_splits_names_both_sources() -> None:
    with pytest.raises(InputError, match=r"p055.png \(train\) and p118.png \(test\) hold the same image \(1 such.*`p118,train`"):
        check("xxy", "aab", ["train", "test", "train"], False)
    with pytest.raises(InputError, match=r"p055.png \(train\) and p074.png \(test\) hold the same image with other masks"):
        check("xxx", "aab", ["train", "train", "test"], False)


def test_groups_that_share_images_are_joined_through_others() -> None:
    rows = [ITEMS[0], ITEMS[1], ITEMS[1], ITEMS[2], Item(None, "alone", "alone.png", (), 1, lambda: ())]
    joined = join_groups(find_duplicates(["x", "x", "y", "y", "z"], "abcde"), rows)
    assert joined == {"p055": "p055", "p118": "p055", "p074": "p055"}
