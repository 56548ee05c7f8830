"""Find values that are out of range or contradict each other."""

import numpy as np
import pandas as pd

from medtransfer.papers.hidy2024.audit.findings import (
    CONFIGURATION,
    DOWNSTREAM,
    ERROR,
    ROBUSTNESS,
    ROUNDING,
    WARNING,
    Finding,
    Tables,
    name_group,
    plain,
)
from medtransfer.papers.hidy2024.importing import SETTING
from medtransfer.papers.hidy2024.store import GROUP, KEY

BOUNDED = ("cosine", "pearson")  # distances in [0, 2]
RANGES = {"hd95": (0.0, np.inf), "mcc": (-1.0, 1.0)}  # all other metrics are in [0, 1]
# Dice and Jaccard of one class determine each other up to the smoothing of 1; means over classes agree less closely.
DICE_GAP = {"one": 1e-4, "several": 0.02}


def outside_range(tables: Tables) -> list[Finding]:
    """Find values that are missing or outside their range."""
    runs = tables.runs
    bad = pd.DataFrame(index=runs.index)
    for name in [column for column in runs.columns if column not in KEY]:
        low, high = RANGES.get(name, (0.0, 1.0))
        values = runs[name]
        expected = values.notna().groupby(runs["target"]).transform("mean") > 0.5
        bad[name] = (values < low) | (values > high) | np.isinf(values) | (values.isna() & (expected | (name == "dice")))
    findings = []
    for run in bad.index[bad.any(axis=1)]:
        wrong = [f"{name} {runs.at[run, name]:g}" for name in bad.columns if bad.at[run, name]]
        meaning = f"the values are missing or outside their range: {', '.join(wrong)}"
        findings.append(Finding("range", DOWNSTREAM, ERROR, len(wrong), name_group(KEY, runs.loc[run, KEY]), meaning))
    return findings + _score_range(tables.scores)


def _score_range(scores: pd.DataFrame) -> list[Finding]:
    loss, margin = scores["loss"], scores["margin"]
    highest = (2 + margin + ROUNDING).where(scores["distance"].isin(BOUNDED), np.inf)
    bad = scores[~np.isfinite(loss) | (loss < 0) | (loss > highest) | ~np.isfinite(margin) | (margin < 0)]
    meaning = "the loss is missing, negative, not finite or above 2 + margin, or the margin is negative"
    return [
        Finding("range", ROBUSTNESS, ERROR, len(rows), name_group([*GROUP, *SETTING], values, epoch=set(rows["epoch"])), meaning)
        for values, rows in bad.groupby([*GROUP, *SETTING], dropna=False)
    ]


def margin_order(tables: Tables) -> list[Finding]:
    """Find losses that fall as the margin rises, or rise by more than the margin."""
    group = [*GROUP, "distance", "level", "pooled"]
    rows = tables.scores.sort_values([*group, "epoch", "margin"])
    same = (rows[[*group, "epoch"]] == rows[[*group, "epoch"]].shift()).all(axis=1)
    step, rise = rows["margin"].diff(), rows["loss"].diff()
    rounding = ROUNDING * rows["loss"].clip(lower=1)
    bad = rows[same & ((rise < -rounding) | (rise > step + rounding))]
    meaning = "from one margin to the next the loss falls, or rises by more than the margin, which is impossible"
    return [
        Finding("margin-order", ROBUSTNESS, ERROR, len(wrong), name_group(group, values, epoch=set(wrong["epoch"])), meaning)
        for values, wrong in bad.groupby(group)
    ]


def dice_jaccard(tables: Tables) -> list[Finding]:
    """Find runs whose Dice and Jaccard cannot both be right."""
    runs = tables.runs
    gap = 2 * runs["jaccard"] / (1 + runs["jaccard"]) - runs["dice"]
    one_class = runs["sensitivity"].notna()
    allowed = np.where(one_class, DICE_GAP["one"], DICE_GAP["several"])
    bad = runs[(gap < -DICE_GAP["one"]) | (gap > allowed)]
    meaning = "Dice and Jaccard of these seeds contradict each other: they are not of the same run, or one is wrong"
    group = [*CONFIGURATION, "epoch"]
    return [
        Finding("dice-jaccard", DOWNSTREAM, ERROR, len(rows), name_group(group, values, seed=set(rows["seed"])), meaning)
        for values, rows in bad.groupby(group)
    ]


def accuracy_order(tables: Tables) -> list[Finding]:
    """Find checkpoints with several source accuracies, and lengths whose accuracy is below that of the length before."""
    runs = tables.runs
    findings = []
    for values, rows in runs.groupby(["encoder", "scheme", "epoch"]):
        counts = rows["source_accuracy"].value_counts()
        if len(counts) > 1:
            odd = rows[rows["source_accuracy"] != min(counts.index, key=lambda value: (-counts[value], value))]
            keys = name_group(["encoder", "scheme", "epoch"], values, target=set(odd["target"]), mode=set(odd["mode"]))
            meaning = f"one checkpoint has several source accuracies: {plain(counts.index)}; the rarer ones are in these lines"
            findings.append(Finding("accuracy-order", DOWNSTREAM, ERROR, len(odd), keys, meaning))
    accuracy = runs.groupby(["encoder", "scheme", "epoch"])["source_accuracy"].median().unstack()
    if 0 in accuracy:
        accuracy[0] = accuracy[0].groupby("encoder").transform("first")
    for values, row in accuracy.iterrows():
        course = row.dropna()
        if falls := set(course.index[course.diff() < 0]):
            meaning = "the source accuracy is lower at these lengths than at the ones before, so lengths may be mixed up"
            keys = name_group(["encoder", "scheme"], values, epoch=falls)
            findings.append(Finding("accuracy-order", DOWNSTREAM, WARNING, len(falls), keys, meaning))
    return findings
