"""From the colours of a mask file to class numbers: masks that are drawn in one colour per class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import read_image
from medtransfer.progress import track
from medtransfer.records import IGNORE

MOST_SHOWN = 8


@dataclass(frozen=True)
class Colour:
    """One colour of a set of masks.

    Attributes:
        code: red, green and blue as one number, 65536 r + 256 g + b.
        share: of all pixels of all masks that were read.
        example: a mask that holds it.
    """

    code: int
    share: float
    example: Path

    def __str__(self) -> str:
        """Return red, green and blue, 0 to 255."""
        return show(self.code)


def read_codes(path: Path) -> np.ndarray:
    """Read a mask as the codes of its colours, int32 (h, w); a palette is resolved and transparency dropped."""
    colours = read_image(path, 3).astype(np.int32)
    return (colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2]  # (h, w)


def show(code: int) -> str:
    """Return a code as red, green and blue, such as `128 0 0`."""
    return f"{code >> 16} {code >> 8 & 255} {code & 255}"


def parse(text: Any) -> int | None:
    """Return the code of red, green and blue in words, such as `128 0 0`; None if it is no colour."""
    parts = str(text).replace(",", " ").split()
    if len(parts) != 3 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        return None
    red, green, blue = map(int, parts)
    return red << 16 | green << 8 | blue


def find_palette(paths: Sequence[Path]) -> list[Colour]:
    """Return all colours of some masks, the most frequent first."""
    counts: dict[int, int] = {}
    examples: dict[int, Path] = {}
    for path in track(paths, "prepare: colours", len(paths), "masks"):
        codes, positions = _index(read_codes(path))
        pixels = np.bincount(positions.ravel(), minlength=len(codes))
        for code, number in zip(codes.tolist(), pixels.tolist(), strict=True):
            counts[code] = counts.get(code, 0) + number
            examples.setdefault(code, path)
    total = sum(counts.values())
    return [Colour(code, counts[code] / total, examples[code]) for code in sorted(counts, key=lambda code: (-counts[code], code))]


@dataclass(frozen=True)
class ColourRule:
    """What each colour means.

    Attributes:
        names: code -> name of a class, `background` or `ignore`.
        classes: names of the classes in the order of their numbers; other names are background.
    """

    names: Mapping[int, str]
    classes: Sequence[str]

    def number(self, path: Path) -> np.ndarray:
        """Return the class numbers of a mask, uint8 (h, w); IGNORE where it is ignored.

        Raises:
            InputError: a colour has no meaning.
        """
        codes, positions = _index(read_codes(path))
        if unknown := [code for code in codes.tolist() if code not in self.names]:
            raise InputError(
                f"expected the colours {_list(self.names)} in {path}, but got also {_list(unknown)}; restore the mask, or correct "
                "what the colours mean"
            )
        numbers = {"ignore": IGNORE} | {name: number for number, name in enumerate(self.classes, start=1)}
        table = np.array([numbers.get(self.names[code], 0) for code in codes.tolist()], np.uint8)
        return table[positions]


def _index(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted values of an array, each once, and where each value is among them; faster than `return_inverse`."""
    codes = np.unique(values)
    return codes, np.searchsorted(codes, values)


def describe_palette(palette: Sequence[Colour], names: Mapping[int, str]) -> str:
    """Describe the colours of all masks, with their shares and meanings."""
    shown = [
        f"{colour} ({names.get(colour.code, 'undefined')}, {100 * colour.share:.1f} % of all pixels)"
        for colour in palette[:MOST_SHOWN]
    ]
    return ", ".join(shown) + (f" and {len(palette) - MOST_SHOWN} more" if len(palette) > MOST_SHOWN else "")


def _list(codes: Any) -> str:
    listed = list(map(show, codes))
    return ", ".join(listed[:MOST_SHOWN]) + (", …" if len(listed) > MOST_SHOWN else "")
