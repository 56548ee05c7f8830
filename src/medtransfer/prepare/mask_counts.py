"""Count the masks of each split that lack a class or are full of it, and its pixels, and refuse masks that say nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtransfer.errors import InputError
from medtransfer.prepare.splits import SPLITS

FEW = 0.05  # share of masks with a class, or with anything else, below which a warning is given
MOST = 0.5  # share of the pixels that a single class has, above which masks may be inverted
MOST_NAMED = 6  # classes in a line
ANY = "any class"


def count_masks(pixels: np.ndarray, splits: Sequence[str], classes: Sequence[str], area: int) -> list[dict[str, Any]]:
    """Count the empty and the full masks and the pixels of each split, by class and for all classes together.

    Args:
        pixels: int (N, 1 + classes), how many pixels of each mask have each label; 0 is background.
        splits: split of each mask.
        classes: names of the classes.
        area: pixels of a mask, those to ignore among them.

    Returns:
        One row per split and class: masks, how many of them are empty (no such pixel) and full (no other pixel), and the share of
        all pixels that the class has.
    """
    of_class = np.column_stack([pixels[:, 1:], pixels[:, 1:].sum(axis=1)])  # (N, classes + 1)
    empty = of_class == 0
    full = ~empty & (of_class == pixels.sum(axis=1, keepdims=True))
    rows = []
    for split in (name for name in SPLITS if name in splits):
        inside = np.array([name == split for name in splits])
        shares = of_class[inside].sum(axis=0) / (area * inside.sum())
        for column, name in enumerate([*classes, ANY]):
            counts = {key: int(flags[inside, column].sum()) for key, flags in (("empty", empty), ("full", full))}
            share = round(float(shares[column]), 6)
            rows.append({"split": split, "class": name, "masks": int(inside.sum()), **counts, "share": share})
    return rows


def check_masks(rows: Sequence[dict[str, Any]], examples: Mapping[str, str]) -> list[str]:
    """Check that the masks of training and test images can be learnt and judged.

    Args:
        rows: from `count_masks`.
        examples: source of a picture of each split, for the message.

    Returns:
        Warnings about classes that no mask holds, that fewer than one mask in twenty holds, or that fill all but as few; and about
        a single class with most of the pixels.

    Raises:
        InputError: all masks of the training or the test images are empty, or all are full of one class.
    """
    held_at_all = {row["class"] for row in rows if row["empty"] < row["masks"]}
    absent = dict.fromkeys(row["class"] for row in rows if row["class"] not in {*held_at_all, ANY})
    warnings = [
        f"no mask of any split holds {name!r}, which can be neither learned nor judged; correct the options `classes` and `labels` "
        "if its pixels have another value, else remove the class" for name in absent
    ]  # fmt: skip
    for row in rows:
        masks, name, split = row["masks"], row["class"], row["split"]
        held, free = masks - row["empty"], masks - row["full"]
        says_nothing = not held if name == ANY else not free  # scenes of several classes may have no background
        if split != "validation" and says_nothing:
            state = "empty" if name == ANY else f"full of {name}"
            raise InputError(
                f"expected masks with labels and background in the split {split!r}, but all {masks} are {state}, such as that of "
                f"{examples[split]}; look at a mask file: its values may mean other labels, or be drawn in a channel that is not "
                "read, such as transparency; or choose another split"
            )
        if name not in {ANY, *absent} and held < FEW * masks:
            warnings.append(f"only {held} of {masks} masks in the split {split!r} hold {name!r}")
        if name != ANY and free < FEW * masks:
            warnings.append(f"only {free} of {masks} masks in the split {split!r} hold anything but {name!r}")
    only = [row for row in rows if row["split"] == "train" and row["class"] != ANY]
    if len(only) == 1 and only[0]["share"] > MOST:
        warnings.append(
            f"{_percent(only[0]['share'])} of the pixels of the training masks are {only[0]['class']!r}; look at the preview: if "
            "that is the background, the masks are inverted, and `labels`, an option of most readers, says which value is which"
        )
    return warnings


def describe_shares(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which share of the pixels of the first split each class has."""
    split = rows[0]["split"]
    shares = {row["class"]: row["share"] for row in rows if row["split"] == split and row["class"] != ANY}
    return f"of the pixels of the {split} masks: {list_shares(shares)}"


def list_shares(shares: Mapping[str, float]) -> str:
    """List the share that each class has, of many classes the first."""
    named = [f"{name} {_percent(share)}" for name, share in list(shares.items())[:MOST_NAMED]]
    return f"{', '.join(named)}{', …' if len(shares) > MOST_NAMED else ''}"


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
