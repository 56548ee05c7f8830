"""Derived seeds, and the global random states."""

import hashlib
import random


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on all parts and nothing else.

    Args:
        parts: values that identify the random stream, such as (seed, epoch, index).
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_everything(seed: int) -> None:
    """Seed random, numpy and torch."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
