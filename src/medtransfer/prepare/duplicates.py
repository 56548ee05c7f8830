"""Find duplicate images, which must not be in two splits, and images that show nothing."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtransfer.errors import InputError
from medtransfer.prepare.conversions import is_constant
from medtransfer.prepare.readers.contract import Item
from medtransfer.wording import counted

MOST_NAMED = 20  # pairs in a message


@dataclass(frozen=True)
class Duplicate:
    """Two rows of the arrays that hold the same image: `first` before `second`, with equal or with other labels."""

    first: int
    second: int
    other_labels: bool


def hash_image(image: np.ndarray) -> str | None:
    """Return a hash of the pixels (h, w, C), or None for a constant picture, whose copies leak nothing."""
    return None if is_constant(image) else hash_pixels(image)


def hash_pixels(pixels: np.ndarray) -> str:
    """Return a hash of the values of an array."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=16).hexdigest()


def describe_constant(images: Sequence[str | None], items: Sequence[Item]) -> list[str]:
    """Return a note on the items that hold one value only, in all their slices, if there are any.

    Args:
        images: hash of each image, from `hash_image`.
        items: item of each row.
    """
    shown = {item.source: False for item in items}
    for key, item in zip(images, items, strict=True):
        shown[item.source] |= key is not None
    empty = [source for source, shows in shown.items() if not shows]
    if not empty:
        return []
    which = f"{len(empty)} of {counted(len(shown), 'image')} hold one value only as they are stored, such as {empty[0]}"
    return [f"{which}; leave out what should show something"]


def find_duplicates(images: Sequence[str | None], labels: Sequence[str]) -> list[Duplicate]:
    """Pair every repeated image with its first copy.

    Args:
        images: hash of each image, from `hash_image`.
        labels: hash of the labels of each image.
    """
    first: dict[str, int] = {}
    pairs = []
    for row, key in enumerate(images):
        if key is not None and (other := first.setdefault(key, row)) != row:
            pairs.append(Duplicate(other, row, labels[other] != labels[row]))
    return pairs


def join_groups(duplicates: Sequence[Duplicate], items: Sequence[Item]) -> dict[str, str]:
    """Return for each group that shares images with others one group that stands for all of them.

    Args:
        duplicates: pairs of rows, from `find_duplicates`.
        items: item of each row.
    """
    leader: dict[str, str] = {}

    def find(group: str) -> str:
        while leader.setdefault(group, group) != group:
            group = leader[group]
        return group

    for pair in duplicates:
        one, other = sorted((find(items[pair.first].group), find(items[pair.second].group)))
        leader[other] = one
    return {group: find(group) for group in leader}


def check_duplicates(
    duplicates: Sequence[Duplicate], splits: Sequence[str], items: Sequence[Item], allow: bool, kind: str = "masks"
) -> list[str]:  # fmt: skip
    """Check that no two splits share an image, byte for byte.

    Args:
        duplicates: pairs of rows, from `find_duplicates`.
        splits: split of each row.
        items: item of each row.
        allow: whether to report shared images as notes instead.
        kind: what the labels are called.

    Returns:
        Notes for the log that name the pairs: those across splits, if allowed, and those within one split.

    Raises:
        InputError: two splits share an image and that is not allowed.
    """
    across = [pair for pair in duplicates if splits[pair.first] != splits[pair.second]]
    inside = [pair for pair in duplicates if splits[pair.first] == splits[pair.second]]
    if across and not allow:
        pair = across[0]
        one, other = (f"{items[row].source} ({splits[row]})" for row in (pair.first, pair.second))
        differing = f" with other {kind}" * pair.other_labels
        raise InputError(
            f"expected no image in two splits, but {one} and {other} hold the same image{differing} "
            f"({len(across)} such{_others(across, kind)}); put both into one split with the line "
            f"`{items[pair.second].group},{splits[pair.first]}` in `split: {{file: <csv>}}`, or "
            "set `allow_duplicates: true` to keep the published split as it is"
        )
    notes = []
    if across:
        notes.append(
            f"{_count(across, kind, 'image')} in two splits, allowed by `allow_duplicates`: {_name(across, splits, items, kind)}"
        )
    if inside:
        notes.append(f"{_count(inside, kind, 'image')} stored twice inside one split: {_name(inside, splits, items, kind)}")
    return notes


def _count(pairs: Sequence[Duplicate], kind: str, what: str) -> str:
    others = _others(pairs, kind)
    return f"{counted(len(pairs), what)}{others and f'{others},'} {'is' if len(pairs) == 1 else 'are'}"


def _others(pairs: Sequence[Duplicate], kind: str) -> str:
    others = sum(pair.other_labels for pair in pairs)
    return f", {others} of them with other {kind}" if others else ""


def _name(pairs: Sequence[Duplicate], splits: Sequence[str], items: Sequence[Item], kind: str) -> str:
    """Name the sources of duplicates, once for all slices of a volume."""
    totals, others = Counter[str](), Counter[str]()
    for pair in pairs:
        name = " and ".join(f"{items[row].source} ({splits[row]})" for row in (pair.first, pair.second))
        totals[name] += 1
        others[name] += pair.other_labels
    names = [f"{name}: {totals[name]}" + (f", {others[name]} with other {kind}" if others[name] else "") for name in totals]
    more = f"; and {len(names) - MOST_NAMED} more pairs" if len(names) > MOST_NAMED else ""
    return "; ".join(names[:MOST_NAMED]) + more
