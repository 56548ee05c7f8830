"""Nothing goes in; from then on this process keeps freed memory for its next tensors, where the C library can do so."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # the parameters' numbers in glibc's malloc.h
KEPT, LARGEST = 2**30, 2**25  # bytes: freed memory that is kept at most, and the largest block of it, glibc's own limit


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory.

    By default it goes back to the kernel after every batch, and the pages of the next one are fetched and cleared anew: that
    takes as long as all distances of a batch together.

    Returns:
        Whether the C library could be asked.

    Source: mallopt(3).
    """
    try:
        change = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    return bool(change(TRIM_THRESHOLD, KEPT)) and bool(change(MMAP_THRESHOLD, LARGEST))
