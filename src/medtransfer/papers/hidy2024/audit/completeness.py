"""Find duplicate lines, and missing seeds, lengths and scores."""

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
from medtransfer.papers.hidy2024.importing import SETTING
from medtransfer.papers.hidy2024.store import GROUP


def duplicate_rows(tables: Tables) -> list[Finding]:
    """Find identical lines."""
    findings = []
    for file, (table, key) in tables.by_file.items():
        for values, count in table[table.duplicated()].groupby(key).size().items():
            meaning = f"the line appears {count + 1} times in the file with identical values; it is used once"
            findings.append(Finding("duplicate-rows", file, WARNING, count, name_group(key, values), meaning))
    return findings


def conflicting_duplicates(tables: Tables) -> list[Finding]:
    """Find keys with several lines of different values."""
    findings = []
    for file, (table, key) in tables.by_file.items():
        distinct = table.drop_duplicates()
        for values, rows in distinct[distinct.duplicated(key, keep=False)].groupby(key):
            differing = [name for name in rows.columns if rows[name].nunique(dropna=False) > 1]
            meaning = f"{len(rows)} lines of one key differ in {', '.join(differing)}, and nothing says which one is right"
            findings.append(Finding("conflicting-duplicates", file, ERROR, len(rows), name_group(key, values), meaning))
    return findings


def seed_count(tables: Tables) -> list[Finding]:
    """Find configurations and lengths with more or fewer seeds than most."""
    group = [*CONFIGURATION, "epoch"]
    seeds = tables.runs.groupby(group)["seed"].agg(set)
    usual = int(seeds.map(len).mode().max())
    known = set(tables.runs["seed"])
    findings = []
    for values, have in seeds[seeds.map(len) != usual].items():
        lacking = f"; it lacks {plain(known - have)}" if len(have) < usual else ""
        meaning = f"it was fine-tuned with {len(have)} seeds, where {usual} are usual{lacking}"
        findings.append(Finding("seed-count", DOWNSTREAM, WARNING, len(have), name_group(group, values), meaning))
    return findings


def spelling(tables: Tables) -> list[Finding]:
    """List the names in the files that are mapped to this project's names."""
    findings = []
    for file, columns in ((DOWNSTREAM, names.DOWNSTREAM), (ROBUSTNESS, names.ROBUSTNESS)):
        for column, (ours, spellings) in columns.items():
            if spellings is None:
                continue
            words = set(tables.by_file[file][0][ours])
            mapped = [f"'{raw}' is {word}" for raw, word in spellings.items() if word in words and raw != word]
            meaning = f"the column '{column}' is read in our own words: {', '.join(mapped)}"
            findings.append(Finding("spelling", file, INFO, len(words), f"column={ours}", meaning))
    return findings


def missing_length(tables: Tables) -> list[Finding]:
    """Find groups that lack a length that most others have."""
    findings = []
    for file, columns in ((DOWNSTREAM, CONFIGURATION), (ROBUSTNESS, GROUP)):
        lengths = tables.lengths[file]
        counts = Counter(length for held in lengths.values() for length in held)
        usual = {length for length, count in counts.items() if 2 * count > len(lengths)}
        for values, have in lengths.items():
            if lacking := usual - have:
                meaning = "there is no result of these lengths, which most other groups have"
                findings.append(
                    Finding("missing-length", file, ERROR, len(lacking), name_group(columns, values, epoch=lacking), meaning)
                )
    return findings


def missing_score(tables: Tables) -> list[Finding]:
    """Find settings that a group lacks and others of the same encoder have."""
    findings = []
    for encoder, table in tables.scores.groupby("encoder"):
        absent = table.assign(scored=True).pivot(index=SETTING, columns=["scheme", "target", "epoch"], values="scored").isna()
        lacking: dict[tuple[Any, ...], set[int]] = {}
        for row, column in zip(*np.nonzero(absent.to_numpy()), strict=True):
            scheme, target, epoch = absent.columns[column]
            lacking.setdefault((encoder, scheme, target, *absent.index[row]), set()).add(int(epoch))
        for values, epochs in lacking.items():
            keys = name_group([*GROUP, *SETTING], values, epoch=epochs)
            meaning = "there is no score in this setting, which other groups of the encoder have"
            findings.append(Finding("missing-score", ROBUSTNESS, ERROR, len(epochs), keys, meaning))
    return findings


def unjoined(tables: Tables) -> list[Finding]:
    """Find lengths that one file has for a group and the other does not."""
    lengths: dict[str, dict[tuple[Hashable, ...], set[int]]] = {DOWNSTREAM: {}, ROBUSTNESS: {}}
    for (encoder, target, _, scheme), epochs in tables.lengths[DOWNSTREAM].items():
        lengths[DOWNSTREAM].setdefault((encoder, scheme, target), set()).update(epochs)
    lengths[ROBUSTNESS].update(tables.lengths[ROBUSTNESS])
    findings = []
    for file, other in ((DOWNSTREAM, ROBUSTNESS), (ROBUSTNESS, DOWNSTREAM)):
        for values, epochs in lengths[other].items():
            if lacking := epochs - lengths[file].get(values, set()):
                meaning = f"these lengths are in the file of {other} but not in that of {file}, so they cannot be joined"
                findings.append(Finding("join", file, ERROR, len(lacking), name_group(GROUP, values, epoch=lacking), meaning))
    return findings
