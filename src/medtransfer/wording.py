"""Words that depend on a number."""


def counted(number: int, what: str) -> str:
    """Return a number of things, in the plural unless it is 1: `1 cell`, `1,790 cells`, `2 classes`."""
    plural = "es" if what.endswith("ss") else "s"
    return f"{number:,} {what}{'' if number == 1 else plural}"


def are(number: int, what: str) -> str:
    """Return a number of things with its verb: `1 cell is`, `2 cells are`."""
    return f"{counted(number, what)} {'is' if number == 1 else 'are'}"
