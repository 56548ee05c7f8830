"""Items and a split rule go in; train, validation or test for every item comes out, never with a torn group."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Item
from medtransfer.records import read_table
from medtransfer.seeds import derive_seed

SPLITS = ("train", "validation", "test")
Rule = Literal["official"] | Mapping[str, Any]
FORMS = "`official`, {test: <fraction>, seed: <number>} or {file: <csv>}"


def assign_splits(items: Sequence[Item], rule: Rule, validation: float) -> list[str]:
    """Give every item its split.

    Args:
        items: of one dataset.
        rule: `official`, {test: fraction of the groups, seed}, or {file: csv with the columns source, split}.
        validation: fraction of the training groups in [0, 1) that is split off for model selection, 0 for none.

    Returns:
        `train`, `validation` or `test`, one an item.

    Raises:
        InputError: the rule is unknown, a group lies in two splits, or nothing is left to train on or to test with.
    """
    if rule == "official":
        splits = _take_official(items)
    elif isinstance(rule, Mapping) and rule.keys() == {"test", "seed"}:
        splits = _draw(items, ["train"] * len(items), rule["test"], "test", rule["seed"])
    elif isinstance(rule, Mapping) and rule.keys() == {"file"}:
        if not isinstance(rule["file"], str):
            raise InputError(f"expected the path of a CSV file for `split: {{file: <csv>}}`, but got {rule['file']!r}")
        splits = _read_file(items, Path(rule["file"]))
    else:
        raise InputError(f"expected `split` to be {FORMS}, but got {rule!r}")
    _refuse_torn_groups(items, splits)
    if validation:
        if "validation" in splits:
            raise InputError("expected `validation: 0.0` beside a split file that names validation samples, but got both")
        seed = rule.get("seed", 0) if isinstance(rule, Mapping) else 0
        splits = _draw(items, splits, validation, "validation", seed)
    for name in ("train", "test"):
        if name not in splits:
            raise InputError(f"expected images in the split {name!r}, but it is empty; set `split` to {FORMS}")
    return splits


def _take_official(items: Sequence[Item]) -> list[str]:
    splits = [item.split for item in items]
    if None in splits:
        raise InputError(f"expected the folders train and test for `split: official`, but there are none; set `split` to {FORMS}")
    return [split for split in splits if split is not None]


def _draw(items: Sequence[Item], splits: Sequence[str], fraction: Any, name: str, seed: Any) -> list[str]:
    """Move a fraction of the training groups to the split `name`: those whose seeded hash is lowest."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise InputError(f"expected the fraction for {name} to lie between 0 and 1, but got {fraction!r}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"expected the split's seed to be a whole number, but got {seed!r}")
    groups = {item.group for item, split in zip(items, splits, strict=True) if split == "train"}
    count = max(1, round(fraction * len(groups)))
    if count >= len(groups):
        raise InputError(
            f"expected groups (patients) left to train on, but {name} takes {count} of {len(groups)}; take a smaller fraction"
        )
    drawn = set(sorted(groups, key=lambda group: (derive_seed(seed, name, group), group))[:count])
    pairs = zip(items, splits, strict=True)
    return [name if split == "train" and item.group in drawn else split for item, split in pairs]


def _read_file(items: Sequence[Item], path: Path) -> list[str]:
    """Look every item up by its source, the stem of its source or its group, whichever the file names."""
    named = _read_lines(path)
    keys = [(item.source, Path(item.source).stem, item.group) for item in items]
    found = [next((key for key in names if key in named), None) for names in keys]
    if None in found:
        item = items[found.index(None)]
        raise InputError(
            f"expected a line for every image in {path}, but {item.source} (group {item.group}) has none "
            f"({found.count(None)} such); name its source, stem or group"
        )
    if unused := sorted(named.keys() - {name for names in keys for name in names}):
        raise InputError(f"expected only names of this dataset in {path}, but {unused[0]!r} is none ({len(unused)} such)")
    return [named[key] for key in found if key is not None]


def _read_lines(path: Path) -> dict[str, str]:
    table = read_table(path, "write a line `<source>,<split>` for every image below the header `source,split`")
    if missing := [name for name in ("source", "split") if name not in table.columns]:
        raise InputError(f"expected the columns source and split in {path}, but there is no {missing[0]}; correct the header")
    named: dict[str, str] = {}
    for number, row in zip(table.lines, table.rows, strict=True):
        line = dict(zip(table.columns, row, strict=True))
        source, split = line["source"], line["split"]
        if not source or split not in SPLITS:
            raise InputError(
                f"expected a source and one of the splits {', '.join(SPLITS)} in line {number} of {path}, but got {source!r} and "
                f"{split!r}; correct the line"
            )
        if named.setdefault(source, split) != split:
            raise InputError(
                f"expected one split a source in {path}, but {source!r} lies in {named[source]} and, in line {number}, in {split}; "
                "remove one of the lines"
            )
    return named


def _refuse_torn_groups(items: Sequence[Item], splits: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for item, split in zip(items, splits, strict=True):
        if seen.setdefault(item.group, split) != split:
            raise InputError(
                f"expected every group (patient) in one split, but {item.group!r} lies in {seen[item.group]} and {split}; "
                f"first seen in {item.source}: move all of its images to one split"
            )
