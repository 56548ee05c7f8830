"""Tables go in; lines that stand twice, and seeds, lengths and scores that are missing, come out as findings."""

from collections import Counter
from collections.abc import Hashable
from typing import Any

import numpy as np

from medtransfer.papers.hidy2024 import names
from medtransfer.papers.hidy2024.audit.findings import (
    CONFIGURATION,
    DOWNSTREAM,
    ERROR,
    INFO,
    ROBUSTNESS,
    WARNING,
    Finding,
    Tables,
    name_group,
    plain,
)
from medtransfer.papers.hidy2024.importing import SCORED, SETTING


def duplicate_rows(tables: Tables) -> list[Finding]:
    """Name lines that stand in the file more than once, every value the same."""
    found = []
    for file, (table, key) in tables.by_file.items():
        for values, count in table[table.duplicated()].groupby(key).size().items():
            meaning = f"the line stands {count + 1} times in the file, every value the same; it counts once"
            found.append(Finding("duplicate-rows", file, WARNING, count, name_group(key, values), meaning))
    return found


def conflicting_duplicates(tables: Tables) -> list[Finding]:
    """Name keys that have several lines of different values."""
    found = []
    for file, (table, key) in tables.by_file.items():
        distinct = table.drop_duplicates()
        for values, rows in distinct[distinct.duplicated(key, keep=False)].groupby(key):
            differing = [name for name in rows.columns if rows[name].nunique(dropna=False) > 1]
            meaning = f"{len(rows)} lines of one key differ in {', '.join(differing)}, and nothing says which one is right"
            found.append(Finding("conflicting-duplicates", file, ERROR, len(rows), name_group(key, values), meaning))
    return found


def seed_count(tables: Tables) -> list[Finding]:
    """Name configurations and lengths with more or fewer seeds than most have."""
    group = [*CONFIGURATION, "epoch"]
    seeds = tables.runs.groupby(group)["seed"].agg(set)
    usual = int(seeds.map(len).mode().max())
    known = set(tables.runs["seed"])
    found = []
    for values, have in seeds[seeds.map(len) != usual].items():
        lacking = f"; it lacks {plain(known - have)}" if len(have) < usual else ""
        meaning = f"it was fine-tuned with {len(have)} seeds, where {usual} are usual{lacking}"
        found.append(Finding("seed-count", DOWNSTREAM, WARNING, len(have), name_group(group, values), meaning))
    return found


def spelling(tables: Tables) -> list[Finding]:
    """Say in which words of ours the columns of names are read."""
    found = []
    for file, columns in ((DOWNSTREAM, names.DOWNSTREAM), (ROBUSTNESS, names.ROBUSTNESS)):
        for column, (ours, spellings) in columns.items():
            if spellings is None:
                continue
            words = set(tables.by_file[file][0][ours])
            mapped = [f"'{raw}' is {word}" for raw, word in spellings.items() if word in words and raw != word]
            meaning = f"the column '{column}' is read in our own words: {', '.join(mapped)}"
            found.append(Finding("spelling", file, INFO, len(words), f"column={ours}", meaning))
    return found


def missing_length(tables: Tables) -> list[Finding]:
    """Name groups that lack a length that most others have."""
    found = []
    for file, columns in ((DOWNSTREAM, CONFIGURATION), (ROBUSTNESS, SCORED)):
        lengths = tables.lengths[file]
        held = Counter(length for one in lengths.values() for length in one)
        usual = {length for length, count in held.items() if 2 * count > len(lengths)}
        for values, have in lengths.items():
            if lacking := usual - have:
                meaning = "there is no result of these lengths, which most other groups have"
                found.append(
                    Finding("missing-length", file, ERROR, len(lacking), name_group(columns, values, epoch=lacking), meaning)
                )
    return found


def missing_score(tables: Tables) -> list[Finding]:
    """Name settings that a group lacks and others of the same encoder have."""
    found = []
    for encoder, table in tables.scores.groupby("encoder"):
        there = table.assign(there=True).pivot(index=SETTING, columns=["scheme", "target", "epoch"], values="there").isna()
        lacking: dict[tuple[Any, ...], set[int]] = {}
        for row, column in zip(*np.nonzero(there.to_numpy()), strict=True):
            scheme, target, epoch = there.columns[column]
            lacking.setdefault((encoder, scheme, target, *there.index[row]), set()).add(int(epoch))
        for values, epochs in lacking.items():
            keys = name_group([*SCORED, *SETTING], values, epoch=epochs)
            meaning = "there is no score in this setting, which other groups of the encoder have"
            found.append(Finding("missing-score", ROBUSTNESS, ERROR, len(epochs), keys, meaning))
    return found


def unjoined(tables: Tables) -> list[Finding]:
    """Name lengths that one file has for a group and the other has not."""
    lengths: dict[str, dict[tuple[Hashable, ...], set[int]]] = {DOWNSTREAM: {}, ROBUSTNESS: {}}
    for (encoder, target, _, scheme), epochs in tables.lengths[DOWNSTREAM].items():
        lengths[DOWNSTREAM].setdefault((encoder, scheme, target), set()).update(epochs)
    lengths[ROBUSTNESS].update(tables.lengths[ROBUSTNESS])
    found = []
    for file, other in ((DOWNSTREAM, ROBUSTNESS), (ROBUSTNESS, DOWNSTREAM)):
        for values, epochs in lengths[other].items():
            if lacking := epochs - lengths[file].get(values, set()):
                meaning = f"these lengths stand in the file of {other} but not in that of {file}, so they cannot be joined"
                found.append(Finding("join", file, ERROR, len(lacking), name_group(SCORED, values, epoch=lacking), meaning))
    return found
