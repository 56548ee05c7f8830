"""Numbers and headings as the tables, pictures and sentences of the report write them."""

import math

Interval = tuple[float, float]


def number(value: float | None) -> str:
    """Write a float with three decimals, an int as it is, an unknown value as a dash."""
    if value is None or math.isnan(value):
        return "–"
    return str(value) if isinstance(value, int) else f"{value:z.3f}"


def signed(value: float, decimals: int = 3) -> str:
    """Write a number with its sign; one that rounds to zero has none."""
    text = f"{abs(value):.{decimals}f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def between(interval: Interval | None) -> str:
    """Write an interval, or a dash."""
    return "–" if interval is None else f"{interval[0]:.3f} – {interval[1]:.3f}"


def spread(mean: float, deviation: float) -> str:
    """Write a mean and its standard deviation; the mean alone where there is none."""
    return f"{mean:.3f}" if math.isnan(deviation) else f"{mean:.3f} ± {deviation:.3f}"


def epochs(value: float) -> str:
    """Write a number of epochs with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def percent(value: float) -> str:
    """Write a share as per cent."""
    return f"{100 * value:.1f} %"


def capitalised(text: str) -> str:
    """Write the first letter as a capital and leave the others."""
    return text[:1].upper() + text[1:]


def probability(value: float | None) -> str:
    """Write a probability or a p-value; tiny ones as smaller than the smallest shown."""
    if value is None:
        return "–"
    return "< 0.001" if 0 < value < 0.0005 else f"{value:.3f}"
