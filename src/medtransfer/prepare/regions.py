"""Check the option `regions`: unions of classes, which may overlap and are judged beside the classes."""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from medtransfer.errors import InputError
from medtransfer.prepare.mask_values import MaskRule
from medtransfer.records import IGNORE


def read_regions(option: Any, classes: Sequence[str], rule: MaskRule) -> dict[str, list[int]]:
    """Return the class numbers of each region, ascending, by its name.

    Args:
        option: name -> its classes or their raw values in the masks, such as {whole: [1, 2, 3], core: [2, 3]}; None: no regions.
        classes: names of the non-background classes.
        rule: class numbers of the raw values of the masks.

    Raises:
        InputError: a region is empty, or lists something that is no class.
    """
    if option is None:
        return {}
    if not isinstance(option, Mapping) or not all(isinstance(name, str) and name.strip() for name in option):
        raise InputError(f"expected the option regions to map names to lists of classes, but got {reprlib.repr(option)}")
    values = {value: number for value, number in (rule.table or {}).items() if number not in (0, IGNORE)}
    numbers: dict[Any, int] = {**values, **{name: number for number, name in enumerate(classes, start=1)}}
    regions = {}
    for name, members in option.items():
        listed = members if isinstance(members, list) else [members]
        if not listed or any(type(member) not in (int, str) or member not in numbers for member in listed):
            raise InputError(
                f"expected the region {name!r} of the option regions to list classes ({', '.join(classes)}) or their values in the "
                f"masks ({', '.join(map(str, values)) or 'none'}), but got {members!r}; correct it, or set `regions: {{}}`"
            )
        regions[name] = sorted({numbers[member] for member in listed})
    return regions
