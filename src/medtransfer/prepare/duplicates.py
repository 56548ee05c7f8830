"""Find duplicate images, which must not be in two splits."""

import hashlib
from collections.abc import Sequence

import numpy as np

from medtransfer.errors import InputError


def hash_image(image: np.ndarray) -> str | None:
    """Return a hash of the pixels, or None for a constant picture, whose copies leak nothing."""
    if (image == image.flat[0]).all():
        return None
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).hexdigest()


def check_duplicates(hashes: Sequence[str | None], splits: Sequence[str], sources: Sequence[str], allow: bool) -> list[str]:
    """Check that no two splits share an image, byte for byte.

    Args:
        hashes: hash of each image, from `hash_image`.
        splits: split of each image.
        sources: source of each image, for the message.
        allow: whether to report shared images as notes instead.

    Returns:
        Notes for the log: duplicates across splits if allowed, and duplicates within one split.

    Raises:
        InputError: two splits share an image and that is not allowed.
    """
    first: dict[str, int] = {}
    across: list[tuple[int, int]] = []
    inside: list[tuple[int, int]] = []
    for row, key in enumerate(hashes):
        if key is None:
            continue
        other = first.setdefault(key, row)
        if other != row:
            (inside if splits[other] == splits[row] else across).append((other, row))
    if across:
        pair = " and ".join(f"{sources[row]} ({splits[row]})" for row in across[0])
        if not allow:
            raise InputError(
                f"expected no image in two splits, but {pair} hold the same image ({len(across)} such images); put both into one "
                "split with `split: {file: <csv>}`, or set `allow_duplicates: true` to keep the published split as it is"
            )
    notes = [f"{len(across)} images are in two splits, such as {pair}; allowed by `allow_duplicates`"] if across else []
    return notes + ([f"{len(inside)} images are stored twice inside one split"] if inside else [])
