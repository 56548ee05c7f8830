"""Words that depend on a number."""


def counted(number: int, what: str) -> str:
    """Return a number of things, in the plural unless it is 1: `1 cell`, `1,790 cells`, `2 classes`."""
    plural = "es" if what.endswith("ss") else "s"
    return f"{number:,} {what}{'' if number == 1 else plural}"


def are(number: int, what: str) -> str:
    """Return a number of things with its verb: `1 cell is`, `2 cells are`."""
    return f"{counted(number, what)} {'is' if number == 1 else 'are'}"


def duration(seconds: float) -> str:
    """Return a time of two digits or so: `40 s`, `12 min`, `2.5 h`, `30 h`."""
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.{1 if unit > 60 and seconds < 10 * unit else 0}f} {name}"
    return f"{seconds:.0f} s"
