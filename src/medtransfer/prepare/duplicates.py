"""The stored images' hashes and splits go in; images that lie in two splits are refused, others are counted."""

import hashlib
from collections.abc import Sequence

import numpy as np

from medtransfer.errors import InputError


def hash_image(image: np.ndarray) -> str | None:
    """Give a hash of the stored pixels, None for a constant picture: emptiness leaks nothing."""
    if (image == image.flat[0]).all():
        return None
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).hexdigest()


def check_duplicates(hashes: Sequence[str | None], splits: Sequence[str], sources: Sequence[str], allow: bool) -> list[str]:
    """Refuse images that are stored byte for byte alike in two splits.

    Args:
        hashes: one a stored image, from `hash_image`.
        splits: of the images.
        sources: of the images, for the message.
        allow: note them instead.

    Returns:
        Notes for the log: duplicates across splits where allowed, and duplicates inside one split.

    Raises:
        InputError: there is a pair across two splits and it is not allowed; both sources are named.
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
    notes = [f"{len(across)} images lie in two splits, such as {pair}; allowed by `allow_duplicates`"] if across else []
    return notes + ([f"{len(inside)} images are stored twice inside one split"] if inside else [])
