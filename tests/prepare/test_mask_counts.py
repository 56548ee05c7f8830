"""Empty and full masks: counted by split and class; masks without labels are refused, rare ones are named."""

import numpy as np
import pytest

from medtransfer.errors import InputError
from medtransfer.prepare.mask_counts import check_masks, count_masks, describe_shares

INVERTED = (
    "97.8 % of the pixels of the training masks are 'cyst'; look at the preview: if that is the background, the masks are "
    "inverted, and `labels`, an option of most readers, says which value is which"
)
EXAMPLES = {"train": "a.png", "validation": "b.png", "test": "c.png"}


def test_empty_and_full_masks_are_counted_by_hand() -> None:
    pixels = np.array([[4, 0, 0], [0, 4, 0], [0, 2, 2], [3, 0, 1], [0, 0, 0]])  # of 2x2 masks; the last holds no known label
    assert count_masks(pixels, ["train", "train", "train", "test", "test"], ["cyst", "solid"], 4) == [
        {"split": "train", "class": "cyst", "masks": 3, "empty": 1, "full": 1, "share": 0.5},
        {"split": "train", "class": "solid", "masks": 3, "empty": 2, "full": 0, "share": 0.166667},
        {"split": "train", "class": "any class", "masks": 3, "empty": 1, "full": 2, "share": 0.666667},
        {"split": "test", "class": "cyst", "masks": 2, "empty": 2, "full": 0, "share": 0.0},
        {"split": "test", "class": "solid", "masks": 2, "empty": 1, "full": 0, "share": 0.125},
        {"split": "test", "class": "any class", "masks": 2, "empty": 1, "full": 0, "share": 0.125},
    ]


def rows(held: dict[str, int], masks: int = 40, full: int = 0) -> list[dict[str, object]]:
    """Make masks of one class, of which so many hold it."""
    splits = [split for split in held for _ in range(masks)]
    pixels = [[0, 9] if row < full else [8, 1] if row < count else [9, 0] for count in held.values() for row in range(masks)]
    return count_masks(np.array(pixels), splits, ["cyst"], 9)


@pytest.mark.parametrize(
    ("held", "full", "warnings"),
    [
        ({"train": 2, "test": 40}, 0, []),
        ({"train": 1, "test": 40}, 0, ["only 1 of 40 masks in the split 'train' hold 'cyst'"]),
        ({"train": 9, "validation": 0, "test": 9}, 0, ["only 0 of 40 masks in the split 'validation' hold 'cyst'"]),
        ({"train": 40}, 39, ["only 1 of 40 masks in the split 'train' hold anything but 'cyst'", INVERTED]),
    ],
)
def test_rare_labels_are_named(held: dict[str, int], full: int, warnings: list[str]) -> None:
    assert check_masks(rows(held, full=full), EXAMPLES) == warnings


def test_a_single_class_with_most_of_the_pixels_may_be_the_background() -> None:
    inverted = count_masks(np.array([[1, 3], [2, 2]]), ["train", "test"], ["cyst"], 4)
    (warning,) = check_masks(inverted, EXAMPLES)
    assert warning == INVERTED.replace("97.8", "75.0")
    ignored = count_masks(np.array([[1, 3], [2, 2]]), ["train", "test"], ["cyst"], 400)
    assert check_masks(ignored, EXAMPLES) == [] and describe_shares(ignored) == "of the pixels of the train masks: cyst 0.8 %"
    rare = count_masks(np.array([[9999, 1]]), ["train"], ["cyst"], 10000)
    assert describe_shares(rare) == "of the pixels of the train masks: cyst < 0.1 %"
    assert check_masks(count_masks(np.array([[2, 2], [1, 3]]), ["train", "test"], ["cyst"], 4), EXAMPLES) == []
    scenes = count_masks(np.array([[0, 3, 1], [1, 2, 1]]), ["train", "test"], ["road", "sky"], 4)
    assert check_masks(scenes, EXAMPLES) == []
    assert describe_shares(scenes) == "of the pixels of the train masks: road 75.0 %, sky 25.0 %"


def test_a_class_that_no_mask_holds_is_named_once() -> None:
    counts = count_masks(np.array([[1, 3, 0], [2, 2, 0]]), ["train", "test"], ["cyst", "solid"], 4)
    (warning,) = check_masks(counts, EXAMPLES)
    assert warning.startswith("no mask of any split holds 'solid'") and "`labels`" in warning


@pytest.mark.parametrize(
    ("held", "full", "message"),
    [
        ({"train": 0, "test": 9}, 0, "the split 'train', but all 40 are empty, such as that of a.png; .*transparency"),
        ({"train": 9, "test": 0}, 0, "the split 'test', but all 40 are empty, such as that of c.png"),
        ({"train": 40, "test": 40}, 40, "the split 'train', but all 40 are full of cyst"),
    ],
)
def test_masks_that_say_nothing_are_refused(held: dict[str, int], full: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_masks(rows(held, full=full), EXAMPLES)


def test_scenes_without_background_are_told_from_masks_full_of_a_class() -> None:
    scenes = np.array([[0, 3, 1], [0, 4, 0]] * 2)
    assert check_masks(count_masks(scenes, ["train"] * 2 + ["test"] * 2, ["road", "sky"], 4), EXAMPLES) == []
    with pytest.raises(InputError, match="the split 'train', but all 2 are full of road"):
        check_masks(count_masks(scenes[[1, 1, 0, 0]], ["train"] * 2 + ["test"] * 2, ["road", "sky"], 4), EXAMPLES)
