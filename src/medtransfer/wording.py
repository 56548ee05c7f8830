"""Words that depend on a number, or on what a name is like."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence

FEW_EPOCHS = 12  # that a message names one by one


def counted(number: int, what: str) -> str:
    """Return a number of things, in the plural unless it is 1: `1 cell`, `1,790 cells`, `2 classes`."""
    plural = "es" if what.endswith("ss") else "s"
    return f"{number:,} {what}{'' if number == 1 else plural}"


def are(number: int, what: str) -> str:
    """Return a number of things with its verb: `1 cell is`, `2 cells are`."""
    return f"{counted(number, what)} {'is' if number == 1 else 'are'}"


def training_images(size: str) -> str:
    """Return what a size of training images means: `all training images`, `50 training images`, `50% of the training images`."""
    return f"{size}{' of the' if size.endswith('%') else ''} training images"


def duration(seconds: float) -> str:
    """Return a time of two digits or so: `40 s`, `12 min`, `2.5 h`, `30 h`."""
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.{1 if unit > 60 and seconds < 10 * unit else 0}f} {name}"
    return f"{seconds:.0f} s"


def epoch_list(epochs: Sequence[int]) -> str:
    """Name epochs in a message: `0, 1, 2, 5, 10`; of more than FEW_EPOCHS the first, the last and their number."""
    if len(epochs) <= FEW_EPOCHS:
        return ", ".join(map(str, epochs))
    return f"{epochs[0]} to {epochs[-1]} ({len(epochs):,} epochs)"


def did_you_mean(name: str, known: Iterable[object], most: int = 3) -> str:
    """Return a clause in brackets on the known names that one is most like, the closest first; empty if it is like none."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(map(str, known)), most)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def composed(name: str) -> str:
    """Return a name with composed letters (NFC): macOS decomposes ü into u and two dots, and archives keep that."""
    return unicodedata.normalize("NFC", name)


def bare(name: str) -> str:
    """Return a name in small letters, without blanks around it and with one between words."""
    return " ".join(composed(name).split()).casefold()


def spelt_alike(names: Iterable[str], spelling: Callable[[str], str] = bare) -> list[tuple[str, str]]:
    """Return (first, further) for every name whose spelling, such as `bare`, is that of an earlier other one."""
    first: dict[str, str] = {}
    return [(earlier, name) for name in names if (earlier := first.setdefault(spelling(name), name)) != name]
