"""Make glibc's malloc keep freed memory (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD)."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # the parameters' numbers in glibc's malloc.h
KEPT, LARGEST = 2**30, 2**25  # bytes: the most freed memory to keep, and its largest block (glibc's own limit)


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory.

    By default it is returned to the kernel after every batch, and the next batch gets new, cleared pages: that takes as long
    as computing all distances of a batch.

    Returns:
        Whether the C library supports it.

    Source: mallopt(3).
    """
    try:
        change = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc, or not Linux
        return False
    return bool(change(TRIM_THRESHOLD, KEPT)) and bool(change(MMAP_THRESHOLD, LARGEST))
