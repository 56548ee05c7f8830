"""Ties: values that differ by the rounding of their sums alone, as 0.9444444444444443 and 0.9444444444444445 do for 17/18."""

DIGITS = 12  # significant ones, and decimals of values below 1


def rounded(value: float) -> float:
    """Return a value for comparison, so that equal values are equal in whatever order they were summed.

    Rounding, unlike a tolerance, makes being equal transitive: the earliest of several is the same in whatever steps it is sought.
    """
    return round(float(f"{value:.{DIGITS}g}"), DIGITS)
