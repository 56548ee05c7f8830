"""Number formats of the report's tables, pictures and sentences."""

import math
import re
from collections.abc import Sequence

Interval = tuple[float, float]
MOST_NAMED = 6  # names in a sentence
MAYBE = "maybe"  # one of several that may be the best


def number(value: float | None, decimals: int = 3) -> str:
    """Format a float with three or other decimals, an int unchanged, an unknown value as a dash."""
    if value is None or math.isnan(value):
        return "–"
    return str(value) if isinstance(value, int) else f"{value:z.{decimals}f}".replace("-", "−")


def signed(value: float, decimals: int = 3) -> str:
    """Format a number with its sign, or without if it rounds to zero."""
    text = f"{abs(value):.{decimals}f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def between(interval: Interval | None) -> str:
    """Format an interval, or a dash for None."""
    return "–" if interval is None else f"{number(interval[0])} – {number(interval[1])}"


def spread(mean: float, deviation: float) -> str:
    """Format a mean and its standard deviation; only the mean if that is NaN."""
    return number(mean) if math.isnan(deviation) else f"{number(mean)} ± {number(deviation)}"


def epochs(value: float) -> str:
    """Format a number of epochs with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def percent(value: float) -> str:
    """Format a share as per cent."""
    return f"{100 * value:.1f} %"


def share(value: float | None) -> str:
    """Format a share as whole per cent, or a dash for None."""
    return "–" if value is None else f"{100 * value:.0f} %"


def capitalised(text: str) -> str:
    """Write the first letter as a capital and leave the others."""
    return text[:1].upper() + text[1:]


def probability(value: float | None) -> str:
    """Format a probability or a p-value; tiny values as `< 0.001`."""
    if value is None:
        return "–"
    return "< 0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def probability_from_draws(value: float | None) -> str:
    """Format a share of random draws as a probability, of which none and all of them are but bounds: `< 0.001` and `> 0.999`."""
    if value is None or math.isnan(value):
        return "–"
    return "> 0.999" if value > 0.9995 else probability(max(value, 1e-9))


def best_words(unbeaten: Sequence[bool | None]) -> list[str]:
    """Say of each candidate whether it is the best, from whether another is better; a dash where that is not tested.

    "likely" is the only one that no other beats, where all are compared; "maybe" is one of several. One that is alone is compared
    with nothing.
    """
    if len(unbeaten) - unbeaten.count(None) < 2:
        return ["–"] * len(unbeaten)
    kept = "likely" if unbeaten.count(True) == 1 and None not in unbeaten else MAYBE
    return ["–" if one is None else (kept if one else "no") for one in unbeaten]


def listed(names: Sequence[str]) -> str:
    """List names in a sentence, at most MOST_NAMED of them."""
    shown, rest = list(names[:MOST_NAMED]), len(names) - MOST_NAMED
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def fold(name: str, letters: int) -> str:
    """Break a name into lines of at most so many letters, after a space or a sign of punctuation where there is one."""
    lines = [""]
    for word in re.findall(r"[^ /_.@+:-]*[ /_.@+:-]|[^ /_.@+:-]+", name):
        for part in (word[start : start + letters] for start in range(0, len(word), letters)):
            if len(lines[-1]) + len(part.rstrip()) > letters:
                lines.append("")
            lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)
