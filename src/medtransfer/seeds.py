"""Seeds that depend on what they belong to, and the global random states."""

import hashlib
import random


def derive_seed(*parts: int | str) -> int:
    """Give a 63-bit seed that depends on every part and on nothing else.

    Args:
        parts: what the random numbers belong to, such as (seed, epoch, index).
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_everything(seed: int) -> None:
    """Set the global states of random, numpy and torch, and ask torch for deterministic kernels where they exist."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
