"""Say what a user may not expect of pictures, by their headers and by what was noted while they were read."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from medtransfer.data.resizing import Size
from medtransfer.prepare.conversions import Conversions
from medtransfer.prepare.picture_files import Header

SQUEEZED = 0.05  # difference of two aspects that is worth a word


def describe_headers(paths: Sequence[Path], headers: Sequence[Header], size: Size, kept: bool, apart: bool) -> tuple[str, ...]:
    """Return notes with counts and an example each.

    Args:
        paths: the pictures.
        headers: their headers.
        size: (height, width) that they are stored in, pixels.
        kept: whether their aspect is kept.
        apart: whether each picture of 16-bit or float grey is scaled by its own statistics.
    """
    squeezed = [not kept and abs(header.size[0] * size[1] / (header.size[1] * size[0]) - 1) > SQUEEZED for header in headers]
    notes = [
        ([header.turned for header in headers], "are turned by their EXIF orientation, as viewers do"),
        ([header.deep_colour for header in headers], "have 16 bits per colour channel, of which the upper 8 are kept"),
        ([apart and header.wide for header in headers], "hold 16-bit or float grey, each scaled by its own percentiles: equal "
         "values become unequal; `scaling: group`, `dataset` or `[low, high]` gives them one scale"),
        (squeezed, f"have another aspect than {size[0]}x{size[1]} and are squeezed to it; "
         "`keep_aspect: true` pads them instead"),
    ]  # fmt: skip
    return tuple(note for flags, text in notes for note in describe_some(paths, flags, text))


def describe_conversions(conversions: Conversions, channels: int) -> tuple[str, ...]:
    """Return notes on the pictures that were read for a target.

    Args:
        conversions: what was noted of them.
        channels: channels that they are stored in.
    """
    coloured = sum(conversions.coloured.values())
    grey = {path: not flag for path, flag in conversions.coloured.items()}
    if channels == 1:
        notes = describe_coloured(conversions, ", of which only the grey is stored")
    elif coloured:
        text = f"are grey, and {coloured} {'is' if coloured == 1 else 'are'} coloured: all are stored with 3 channels"
        notes = describe_some(list(grey), grey.values(), text)
    elif not all(conversions.in_colour.values()):
        text = "are grey like the others, but stored as colour: all get 3 channels"
        notes = describe_some(list(grey), conversions.in_colour.values(), text)
    else:
        notes = ()
    return *notes, *describe_transparent(conversions)


def describe_coloured(conversions: Conversions, effect: str) -> tuple[str, ...]:
    """Return a note on the coloured pictures that were read, if there are any; `effect` says what is made of them."""
    return describe_some(list(conversions.coloured), conversions.coloured.values(), f"are coloured{effect}")


def describe_transparent(conversions: Conversions) -> tuple[str, ...]:
    """Return a note on the pictures that were read without their transparency, if there are any."""
    text = "have transparent pixels, which are read as if they were opaque"
    return describe_some(list(conversions.transparent), conversions.transparent.values(), text)


def describe_constant(conversions: Conversions) -> tuple[str, ...]:
    """Return a note on the pictures that hold one value only, if there are any."""
    return describe_some(
        list(conversions.constant), conversions.constant.values(), "hold one value only as the model is given them"
    )


def describe_some(paths: Sequence[Path], flags: Iterable[bool], text: str) -> tuple[str, ...]:
    """Return a note on the pictures that are flagged, if there are any."""
    flagged = [path for path, flag in zip(paths, flags, strict=True) if flag]
    return (f"{len(flagged)} of {len(paths)} pictures {text} (such as {flagged[0]})",) if flagged else ()
