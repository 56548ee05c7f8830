"""Assign items to train, validation and test; all items of a group (patient) stay in one split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Item
from medtransfer.records import read_table
from medtransfer.seeds import derive_seed
from medtransfer.wording import composed, did_you_mean

SPLITS = ("train", "validation", "test")
Rule = Literal["official", "auto", "none"] | Mapping[str, Any]
FIFTH = {"test": 0.2, "seed": 0}  # drawn by `auto` where the layout has no test split
NONE = "none"  # the rule of targets that encoders are only scored on: every image is in `train`, or in `validation` if asked for
OTHERS = "{test: <fraction>, seed: <number>} or {file: <csv>}"
WORDS = ("official", "auto", NONE)
FORMS = f"{', '.join(f'`{word}`' for word in WORDS)}, {OTHERS}"


def assign_splits(
    items: Sequence[Item], rule: Rule, validation: float, together: Mapping[str, str] | None = None
) -> list[str]:  # fmt: skip
    """Assign every item to a split.

    Args:
        items: items of the dataset.
        rule: `official`, `auto` (official, or FIFTH where images have no published split or are all of the training one), `none`,
            {test: fraction of the groups, seed, 0 where none is given}, or {file: CSV with the columns source, split}; images that
            the file does not name keep their published split.
        validation: fraction in [0, 1) of the training groups to split off for model selection, 0 for none.
        together: for groups that share images, the group that stands for all of them: a draw takes all or none.

    Returns:
        `train`, `validation` or `test` for each item.

    Raises:
        InputError: the rule is unknown, a group is in two splits, or the training or test split is empty.
    """
    if rule == NONE:
        everything = ["train"] * len(items)
        return _draw(items, everything, validation, "validation", 0, together or {}) if validation else everything
    if rule == "auto":
        rule = FIFTH if {item.split for item in items} <= {None, "train"} else "official"
    if rule == "official":
        splits = _take_official(items)
    elif isinstance(rule, Mapping) and {"test"} <= rule.keys() <= {"test", "seed"}:
        splits = _draw(items, ["train"] * len(items), rule["test"], "test", rule.get("seed", 0), together or {})
    elif isinstance(rule, Mapping) and rule.keys() == {"file"}:
        if not isinstance(rule["file"], str):
            raise InputError(f"expected the path of a CSV file for `split: {{file: <csv>}}`, but got {rule['file']!r}")
        splits = _read_file(items, Path(rule["file"]))
    else:
        similar = did_you_mean(rule, WORDS) if isinstance(rule, str) else ""
        raise InputError(f"expected `split` to be {FORMS}, but got {rule!r}{similar}")
    _check_groups(items, splits)
    if validation:
        if "validation" in splits:
            raise InputError(
                "expected `validation: 0.0` beside a split file or folder that names validation samples, but got both; set it so, "
                "or count those samples as training ones: in the file, or by the option `splits` of readers that have it, such as "
                "{splits: {val: train}}"
            )
        seed = rule.get("seed", 0) if isinstance(rule, Mapping) else 0
        splits = _draw(items, splits, validation, "validation", seed, together or {})
    for name in ("train", "test"):
        if name not in splits:
            raise InputError(
                f"expected images in the split {name!r}, but all {len(items)} are in {' and '.join(sorted(set(splits)))}, such as "
                f"{items[0].source}; add the others, or set `split` to {OTHERS}"
            )
    return splits


def _take_official(items: Sequence[Item]) -> list[str]:
    splits = [item.split for item in items]
    if None in splits:
        source = items[splits.index(None)].source
        raise InputError(
            f"expected the folders train and test for `split: official`, but {source} is in neither; set `split` to {OTHERS}"
        )
    return [split for split in splits if split is not None]


def _draw(
    items: Sequence[Item], splits: Sequence[str], fraction: Any, name: str, seed: Any, together: Mapping[str, str]
) -> list[str]:  # fmt: skip
    """Move a fraction of the training groups to the split `name`: those with the lowest seeded hashes, and their duplicates."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise InputError(
            f"expected the fraction for {name} to be between 0 and 1, such as 0.25 for a quarter, but got {fraction!r}"
        )
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"expected the split's seed to be a whole number, but got {seed!r}")
    groups = {item.group for item, split in zip(items, splits, strict=True) if split == "train"}
    alike: dict[str, set[str]] = {}
    for group in groups:
        alike.setdefault(together.get(group, group), set()).add(group)
    count = max(1, round(fraction * len(groups)))
    drawn = set[str]()
    for group in sorted(groups, key=lambda group: (derive_seed(seed, name, group), group)):
        if len(drawn) < count:
            drawn |= alike[together.get(group, group)]
    if len(drawn) >= len(groups):
        raise InputError(
            f"expected groups (patients) left to train on, but {name} takes {len(drawn)} of {len(groups)}; take a smaller fraction"
        )
    pairs = zip(items, splits, strict=True)
    return [name if split == "train" and item.group in drawn else split for item, split in pairs]


def _read_file(items: Sequence[Item], path: Path) -> list[str]:
    """Look up every item in a split file by its source, the stem of its source, or its group; else take its published split."""
    named = _read_lines(path)
    keys = [[composed(name) for name in (item.source, Path(item.source).stem, item.group)] for item in items]
    stems = Counter(stem for _, stem in {(source, stem) for source, stem, _ in keys})
    if shared := [
        stem for source, stem, group in keys if stem in named and stems[stem] > 1 and stem != group and source not in named
    ]:
        raise InputError(
            f"expected one image per line of {path}, but {shared[0]!r} is the stem of {stems[shared[0]]} images; name their "
            "sources or groups"
        )
    splits = [
        next((named[key] for key in names if key in named), item.split) for item, names in zip(items, keys, strict=True)
    ]  # fmt: skip
    if None in splits:
        item = items[splits.index(None)]
        raise InputError(
            f"expected a line for every image in {path}, but {item.source} (group {item.group}) has none "
            f"({splits.count(None)} such); name its source, stem or group"
        )
    if unused := sorted(named.keys() - {name for names in keys for name in names}):
        raise InputError(f"expected only names of this dataset in {path}, but {unused[0]!r} is unknown ({len(unused)} such)")
    return [split for split in splits if split is not None]


def _read_lines(path: Path) -> dict[str, str]:
    table = read_table(path, "write the header `source,split`, then a line `<source>,<split>` for every image")
    if missing := [name for name in ("source", "split") if name not in table.columns]:
        raise InputError(f"expected the columns source and split in {path}, but there is no {missing[0]}; correct the header")
    named: dict[str, str] = {}
    for number, row in zip(table.lines, table.rows, strict=True):
        line = dict(zip(table.columns, row, strict=True))
        source, split = composed(line["source"]), line["split"]
        if not source or split not in SPLITS:
            raise InputError(
                f"expected a source and one of the splits {', '.join(SPLITS)} in line {number} of {path}, but got {source!r} and "
                f"{split!r}; correct the line"
            )
        if named.setdefault(source, split) != split:
            raise InputError(
                f"expected one split per source in {path}, but {source!r} is in {named[source]} and, in line {number}, in {split}; "
                "remove one of the lines"
            )
    return named


def _check_groups(items: Sequence[Item], splits: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for item, split in zip(items, splits, strict=True):
        if seen.setdefault(item.group, split) != split:
            raise InputError(
                f"expected every group (patient) in one split, but {item.group!r} is in {seen[item.group]} and {split}; "
                f"first seen in {item.source}: move all of its images to one split"
            )
