"""The tables of the two released files go in; what is wrong or odd in them comes out, a finding for each affected group.

Nothing here depends on the order of lines, and nothing is known beforehand: every check compares the files with themselves,
with each other or with a law that holds for any scores. So labels that are swapped in every group alike are not seen.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtransfer.replay import names
from medtransfer.replay.importing import SCORED, SETTING
from medtransfer.report.replayed import KEY

DOWNSTREAM, ROBUSTNESS = "downstream", "robustness"
INFO, WARNING, ERROR = "info", "warning", "error"
CONFIGURATION = ["encoder", "target", "mode", "scheme"]
SCORE = [*SCORED, *SETTING, "epoch"]
BOUNDED = ("cosine", "pearson")  # distances that lie in [0, 2]
RANGES = {"hd95": (0.0, np.inf), "mcc": (-1.0, 1.0)}  # every other metric lies in [0, 1]
ROUNDING = 1e-6  # of a mean of single-precision losses, relative above 1
# Dice and Jaccard of one class determine each other up to the smoothing of 1; means over classes agree less closely.
DICE_GAP = {"one": 1e-4, "several": 0.02}
BETTER = 0.8  # labels count as swapped when swapping them back brings the ranks this much nearer to those of the others
CLEARER = 0.1  # a list counts as shifted when shifting it back raises its correlation by this much


@dataclass(frozen=True)
class Finding:
    """One affected group.

    Attributes:
        check: name in CHECKS.
        file: `downstream` or `robustness`.
        severity: `error`: the affected numbers cannot be trusted or recomputed; `warning`: they may be wrong; `info`.
        count: how many lines, lengths, settings or places it is about; the meaning says which.
        keys: the group, as `name=value` parted by blanks; two groups by ` | `.
        meaning: one sentence in plain words.
    """

    check: str
    file: str
    severity: str
    count: int
    keys: str
    meaning: str


class Tables:
    """Both tables in an order of their own, and the views of them that several checks need."""

    def __init__(self, downstream: pd.DataFrame, robustness: pd.DataFrame) -> None:
        """Sort the tables of `read_downstream` and `read_robustness` and forget the numbers of their lines."""
        self.downstream, self.robustness = _sorted(downstream, KEY), _sorted(robustness, SCORE)
        self.by_file = {DOWNSTREAM: (self.downstream, KEY), ROBUSTNESS: (self.robustness, SCORE)}
        self.runs, self.scores = self.downstream.drop_duplicates(KEY), self.robustness.drop_duplicates(SCORE)

    @cached_property
    def series(self) -> pd.DataFrame:
        """Give the finite losses: a row for each group and setting, a column for each length."""
        wide = self.scores.pivot(index=[*SCORED, *SETTING], columns="epoch", values="loss")
        return wide.where(np.isfinite(wide))

    @cached_property
    def dice(self) -> pd.DataFrame:
        """Give the mean Dice: a row for each configuration, a column for each length; length 0 serves every scheme."""
        wide = self.runs.groupby([*CONFIGURATION, "epoch"])["dice"].mean().unstack()
        if 0 in wide:
            wide[0] = wide[0].groupby(CONFIGURATION[:3]).transform("first")
        return wide

    @cached_property
    def lengths(self) -> dict[str, dict[tuple[Hashable, ...], set[int]]]:
        """Give the lengths of every group of each file; a random initialisation that was fine-tuned serves every scheme."""
        downstream, robustness = _lengths(self.runs, CONFIGURATION), _lengths(self.scores, SCORED)
        for key in downstream:
            if any(0 in found for other, found in downstream.items() if other[:3] == key[:3]):
                downstream[key].add(0)
        return {DOWNSTREAM: downstream, ROBUSTNESS: robustness}


def _sorted(table: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    table = table.drop(columns="line")
    return table.sort_values([*key, *(name for name in table.columns if name not in key)], ignore_index=True)


def _lengths(table: pd.DataFrame, group: list[str]) -> dict[tuple[Hashable, ...], set[int]]:
    """Give the lengths of every combination that the values of the group's columns make, also of those that have none."""
    found = table.groupby(group)["epoch"].agg(set).to_dict()
    return {key: found.get(key, set()) for key in product(*(sorted(table[name].unique()) for name in group))}


def _keys(columns: Sequence[str], values: Iterable[Any], **more: Any) -> str:
    named = {**dict(zip(columns, values, strict=True)), **more}
    return " ".join(f"{name}={_plain(value)}" for name, value in named.items())


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str | bool | np.bool_):
        return str(value)
    if isinstance(value, Iterable):
        return ",".join(_plain(one) for one in sorted(value))
    return str(value)


def _duplicate_rows(tables: Tables) -> list[Finding]:
    found = []
    for file, (table, key) in tables.by_file.items():
        for values, count in table[table.duplicated()].groupby(key).size().items():
            meaning = f"the line stands {count + 1} times in the file, every value the same; it counts once"
            found.append(Finding("duplicate-rows", file, WARNING, count, _keys(key, values), meaning))
    return found


def _conflicting_duplicates(tables: Tables) -> list[Finding]:
    found = []
    for file, (table, key) in tables.by_file.items():
        distinct = table.drop_duplicates()
        for values, rows in distinct[distinct.duplicated(key, keep=False)].groupby(key):
            differing = [name for name in rows.columns if rows[name].nunique(dropna=False) > 1]
            meaning = f"{len(rows)} lines of one key differ in {', '.join(differing)}, and nothing says which one is right"
            found.append(Finding("conflicting-duplicates", file, ERROR, len(rows), _keys(key, values), meaning))
    return found


def _seed_count(tables: Tables) -> list[Finding]:
    group = [*CONFIGURATION, "epoch"]
    seeds = tables.runs.groupby(group)["seed"].agg(set)
    usual = int(seeds.map(len).mode().max())
    known = set(tables.runs["seed"])
    found = []
    for values, have in seeds[seeds.map(len) != usual].items():
        lacking = f"; it lacks {_plain(known - have)}" if len(have) < usual else ""
        meaning = f"it was fine-tuned with {len(have)} seeds, where {usual} are usual{lacking}"
        found.append(Finding("seed-count", DOWNSTREAM, WARNING, len(have), _keys(group, values), meaning))
    return found


def _spelling(tables: Tables) -> list[Finding]:
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


def _missing_length(tables: Tables) -> list[Finding]:
    found = []
    for file, columns in ((DOWNSTREAM, CONFIGURATION), (ROBUSTNESS, SCORED)):
        lengths = tables.lengths[file]
        held = Counter(length for one in lengths.values() for length in one)
        usual = {length for length, count in held.items() if 2 * count > len(lengths)}
        for values, have in lengths.items():
            if lacking := usual - have:
                meaning = "there is no result of these lengths, which most other groups have"
                found.append(Finding("missing-length", file, ERROR, len(lacking), _keys(columns, values, epoch=lacking), meaning))
    return found


def _missing_score(tables: Tables) -> list[Finding]:
    found = []
    for encoder, table in tables.scores.groupby("encoder"):
        there = table.assign(there=True).pivot(index=SETTING, columns=["scheme", "target", "epoch"], values="there").isna()
        lacking: dict[tuple[Any, ...], set[int]] = {}
        for row, column in zip(*np.nonzero(there.to_numpy()), strict=True):
            scheme, target, epoch = there.columns[column]
            lacking.setdefault((encoder, scheme, target, *there.index[row]), set()).add(int(epoch))
        for values, epochs in lacking.items():
            keys = _keys([*SCORED, *SETTING], values, epoch=epochs)
            meaning = "there is no score in this setting, which other groups of the encoder have"
            found.append(Finding("missing-score", ROBUSTNESS, ERROR, len(epochs), keys, meaning))
    return found


def _join(tables: Tables) -> list[Finding]:
    lengths: dict[str, dict[tuple[Hashable, ...], set[int]]] = {DOWNSTREAM: {}, ROBUSTNESS: {}}
    for (encoder, target, _, scheme), epochs in tables.lengths[DOWNSTREAM].items():
        lengths[DOWNSTREAM].setdefault((encoder, scheme, target), set()).update(epochs)
    lengths[ROBUSTNESS].update(tables.lengths[ROBUSTNESS])
    found = []
    for file, other in ((DOWNSTREAM, ROBUSTNESS), (ROBUSTNESS, DOWNSTREAM)):
        for values, epochs in lengths[other].items():
            if lacking := epochs - lengths[file].get(values, set()):
                meaning = f"these lengths stand in the file of {other} but not in that of {file}, so they cannot be joined"
                found.append(Finding("join", file, ERROR, len(lacking), _keys(SCORED, values, epoch=lacking), meaning))
    return found


def _range(tables: Tables) -> list[Finding]:
    runs = tables.runs
    faults = pd.DataFrame(index=runs.index)
    for name in [column for column in runs.columns if column not in KEY]:
        low, high = RANGES.get(name, (0.0, 1.0))
        values = runs[name]
        expected = values.notna().groupby(runs["target"]).transform("mean") > 0.5
        faults[name] = (values < low) | (values > high) | np.isinf(values) | (values.isna() & (expected | (name == "dice")))
    found = []
    for place in faults.index[faults.any(axis=1)]:
        wrong = [f"{name} {runs.at[place, name]:g}" for name in faults.columns if faults.at[place, name]]
        meaning = f"the values are missing or outside their range: {', '.join(wrong)}"
        found.append(Finding("range", DOWNSTREAM, ERROR, len(wrong), _keys(KEY, runs.loc[place, KEY]), meaning))
    return found + _score_range(tables.scores)


def _score_range(scores: pd.DataFrame) -> list[Finding]:
    loss, margin = scores["loss"], scores["margin"]
    highest = (2 + margin + ROUNDING).where(scores["distance"].isin(BOUNDED), np.inf)
    bad = scores[~np.isfinite(loss) | (loss < 0) | (loss > highest) | ~np.isfinite(margin) | (margin < 0)]
    meaning = "the loss is missing, negative, not finite or above 2 + margin, or the margin is negative"
    return [
        Finding("range", ROBUSTNESS, ERROR, len(rows), _keys([*SCORED, *SETTING], values, epoch=set(rows["epoch"])), meaning)
        for values, rows in bad.groupby([*SCORED, *SETTING], dropna=False)
    ]


def _margin_order(tables: Tables) -> list[Finding]:
    group = [*SCORED, "distance", "level", "pooled"]
    rows = tables.scores.sort_values([*group, "epoch", "margin"])
    same = (rows[[*group, "epoch"]] == rows[[*group, "epoch"]].shift()).all(axis=1)
    step, rise = rows["margin"].diff(), rows["loss"].diff()
    rounding = ROUNDING * rows["loss"].clip(lower=1)
    bad = rows[same & ((rise < -rounding) | (rise > step + rounding))]
    meaning = "from one margin to the next the loss falls or rises by more than the margin does, which no scores can do"
    return [
        Finding("margin-order", ROBUSTNESS, ERROR, len(wrong), _keys(group, values, epoch=set(wrong["epoch"])), meaning)
        for values, wrong in bad.groupby(group)
    ]


def _dice_jaccard(tables: Tables) -> list[Finding]:
    runs = tables.runs
    gap = 2 * runs["jaccard"] / (1 + runs["jaccard"]) - runs["dice"]
    one_class = runs["sensitivity"].notna()
    allowed = np.where(one_class, DICE_GAP["one"], DICE_GAP["several"])
    bad = runs[(gap < -DICE_GAP["one"]) | (gap > allowed)]
    meaning = "Dice and Jaccard of these seeds contradict each other: they are not of the same run, or one is wrong"
    group = [*CONFIGURATION, "epoch"]
    return [
        Finding("dice-jaccard", DOWNSTREAM, ERROR, len(rows), _keys(group, values, seed=set(rows["seed"])), meaning)
        for values, rows in bad.groupby(group)
    ]


@dataclass(frozen=True)
class _Agreement:
    """Scores of two lengths of a group that agree to the last bit: in how many settings, and in how many not at a bound."""

    group: tuple[Hashable, ...]
    epochs: tuple[int, int]
    settings: int
    same: NDArray[np.bool_]
    unbounded: int

    @property
    def copied(self) -> bool:
        return self.unbounded > 0 or bool(self.same.sum() == self.settings)


def _agreements(tables: Tables) -> list[_Agreement]:
    found = []
    for group, wide in tables.series.groupby(level=SCORED):
        margin = wide.index.get_level_values("margin").to_numpy()
        for pair in combinations(wide.columns, 2):
            one, other = (wide[epoch].to_numpy() for epoch in pair)
            same = one == other
            at_bound = (one == 0) | (np.abs(one - margin) <= ROUNDING)
            if same.any():
                settings = int((~np.isnan(one) & ~np.isnan(other)).sum())
                found.append(_Agreement(group, pair, settings, same, int((same & ~at_bound).sum())))
    return found


def _copied_scores(tables: Tables) -> list[Finding]:
    return [
        Finding(
            "copied-scores", ROBUSTNESS, ERROR, int(one.same.sum()), _keys(SCORED, one.group, epoch=one.epochs),
            f"{int(one.same.sum())} of {one.settings} settings score the same at both lengths, to the last bit: one is a copy "
            "of the other, not a measurement",
        )
        for one in _agreements(tables) if one.copied
    ]  # fmt: skip


def _saturated_scores(tables: Tables) -> list[Finding]:
    groups: dict[tuple[Hashable, ...], list[_Agreement]] = {}
    for one in _agreements(tables):
        if not one.copied:
            groups.setdefault(one.group, []).append(one)
    found = []
    for group, pairs in groups.items():
        settings = int(np.logical_or.reduce([one.same for one in pairs]).sum())
        most = max(pairs, key=lambda one: (one.same.sum(), one.epochs))
        meaning = (
            f"in {settings} of {most.settings} settings some lengths tie at the bounds 1 or 1 - margin, so that nothing tells them "
            f"apart; most often {most.epochs[0]} and {most.epochs[1]}, in {int(most.same.sum())}"
        )
        epochs = {epoch for one in pairs for epoch in one.epochs}
        found.append(Finding("saturated-scores", ROBUSTNESS, INFO, settings, _keys(SCORED, group, epoch=epochs), meaning))
    return found


def _duplicated_column(tables: Tables) -> list[Finding]:
    pairs: dict[tuple[str, str], list[tuple[Any, Any]]] = {}
    for one, other in _equal_rows(tables.series):
        apart = len(SCORED) if one[len(SCORED) :] == other[len(SCORED) :] else None  # the same setting need not be named
        columns = [*SCORED, *SETTING][:apart]
        pairs.setdefault((_keys(columns, one[:apart]), _keys(columns, other[:apart])), []).append((one, other))
    meaning = "the whole list of scores over the lengths is the same in both, to the last bit, in as many settings as counted"
    found = [
        Finding("duplicated-column", ROBUSTNESS, ERROR, len(settings), f"{one} | {other}", meaning)
        for (one, other), settings in pairs.items()
    ]
    return found + _duplicated_metrics(tables.runs)


def _duplicated_metrics(runs: pd.DataFrame) -> list[Finding]:
    metrics = [name for name in runs.columns if name not in KEY]
    return [
        Finding(
            "duplicated-column", DOWNSTREAM, ERROR, len(rows), _keys(["target", "columns"], [target, pair]),
            "both metrics have the same values in every line, to the last bit",
        )
        for target, rows in runs.groupby("target")
        for pair in combinations(metrics, 2)
        if rows[pair[0]].nunique() > 1 and rows[pair[0]].equals(rows[pair[1]].rename(pair[0]))
    ]  # fmt: skip


def _equal_rows(wide: pd.DataFrame) -> list[tuple[Any, Any]]:
    """Give the keys of rows (N, E) that are complete, not constant and the same as an earlier one's, with that one's."""
    first: dict[bytes, Any] = {}
    found = []
    for key, row in _telling_rows(wide):
        earlier = first.setdefault(row.tobytes(), key)
        if earlier != key:
            found.append((earlier, key))
    return found


def _telling_rows(wide: pd.DataFrame) -> list[tuple[Any, NDArray[np.float64]]]:
    values = wide.to_numpy()
    return [(key, row) for key, row in zip(wide.index, values, strict=True) if not np.isnan(row).any() and len(np.unique(row)) > 2]


def _duplicated_dice(tables: Tables) -> list[Finding]:
    group = [*CONFIGURATION, "epoch"]
    first: dict[tuple[float, ...], Any] = {}
    found = []
    for values, dice in tables.runs.groupby(group)["dice"].agg(tuple).items():
        if len(set(dice)) < 2:
            continue
        earlier = first.setdefault(dice, values)
        if earlier != values:
            keys = f"{_keys(group, earlier)} | {_keys(group, values)}"
            meaning = "the Dice of every seed are the same in both, to the last bit: one is a copy of the other"
            found.append(Finding("duplicated-dice", DOWNSTREAM, ERROR, len(dice), keys, meaning))
    return found


def _shifted_list(tables: Tables) -> list[Finding]:
    found = []
    for file, wide, group in ((DOWNSTREAM, tables.dice, CONFIGURATION), (ROBUSTNESS, tables.series, SCORED)):
        found += [*_rotated_copies(file, wide, group), *_out_of_step(file, wide, group)]
    return found


def _rotated_copies(file: str, wide: pd.DataFrame, group: list[str]) -> list[Finding]:
    rows = _telling_rows(wide)
    lists = {row.tobytes(): key for key, row in rows}
    pairs: Counter[tuple[str, str, int]] = Counter()
    for key, row in rows:
        for places in range(1, len(row)):
            other = lists.get(np.roll(row, places).tobytes())
            if other is not None and key < other:
                pairs[_keys(group, key[: len(group)]), _keys(group, other[: len(group)]), places] += 1
    return [
        Finding(
            "shifted-list", file, ERROR, count, f"{one} | {other}",
            f"the list over the lengths is in both the same, to the last bit, but {places} places apart",
        )
        for (one, other, places), count in pairs.items()
    ]  # fmt: skip


def _out_of_step(file: str, wide: pd.DataFrame, group: list[str]) -> list[Finding]:
    """Compare the course over the lengths between the schemes of the same encoder and target."""
    z = wide.sub(wide.mean(axis=1), axis=0).div(wide.std(axis=1).replace(0, np.nan), axis=0)
    rest = [name for name in group if name != "scheme"]
    found = []
    for values, both in z.groupby(level=rest):
        schemes = {scheme: table.droplevel("scheme") for scheme, table in both.groupby(level="scheme")}
        for pair in combinations(schemes, 2):
            one, other = schemes[pair[0]].align(schemes[pair[1]], join="inner")
            complete = one.notna().all(axis=1) & other.notna().all(axis=1)
            places = _better_shift(one[complete].to_numpy(), other[complete].to_numpy())
            if places:
                meaning = f"the courses over the lengths resemble each other most when one is shifted by {places} places"
                found.append(Finding("shifted-list", file, WARNING, places, _keys(rest, values, scheme=pair), meaning))
    return found


def _better_shift(one: NDArray[np.float64], other: NDArray[np.float64]) -> int:
    """Give the rotation of `one` (N, E), each row of mean 0 and deviation 1, that clearly fits `other` better, or 0."""
    if one.size == 0:
        return 0
    rolled = np.stack([np.roll(one, -places, axis=1) for places in range(one.shape[1])])  # (E, N, E)
    correlation = (rolled * other).sum(axis=2).mean(axis=1) / (one.shape[1] - 1)
    best = int(correlation.argmax())
    return best if correlation[best] > correlation[0] + CLEARER else 0


def _accuracy_order(tables: Tables) -> list[Finding]:
    runs = tables.runs
    found = []
    for values, rows in runs.groupby(["encoder", "scheme", "epoch"]):
        counts = rows["source_accuracy"].value_counts()
        if len(counts) > 1:
            odd = rows[rows["source_accuracy"] != min(counts.index, key=lambda value: (-counts[value], value))]
            keys = _keys(["encoder", "scheme", "epoch"], values, target=set(odd["target"]), mode=set(odd["mode"]))
            meaning = f"one checkpoint has several source accuracies: {_plain(counts.index)}; the rarer ones stand in these lines"
            found.append(Finding("accuracy-order", DOWNSTREAM, ERROR, len(odd), keys, meaning))
    accuracy = runs.groupby(["encoder", "scheme", "epoch"])["source_accuracy"].median().unstack()
    if 0 in accuracy:
        accuracy[0] = accuracy[0].groupby("encoder").transform("first")
    for values, row in accuracy.iterrows():
        course = row.dropna()
        if falls := set(course.index[course.diff() < 0]):
            meaning = "the source accuracy is lower at these lengths than at the ones before, so lengths may be mixed up"
            keys = _keys(["encoder", "scheme"], values, epoch=falls)
            found.append(Finding("accuracy-order", DOWNSTREAM, WARNING, len(falls), keys, meaning))
    return found


def _swapped_dataset(tables: Tables) -> list[Finding]:
    metrics = [name for name in tables.runs.columns if name not in [*KEY, "source_accuracy"]]
    dice = tables.runs.groupby([*CONFIGURATION, "epoch"])[metrics].mean().stack().rename_axis([*CONFIGURATION, "epoch", "metric"])
    unit = [name for name in CONFIGURATION if name != "target"]
    return [
        *_swapped(DOWNSTREAM, dice.unstack("target"), unit, ["metric"]),
        *_swapped(ROBUSTNESS, tables.series.stack().unstack("target"), ["encoder", "scheme"], SETTING),
    ]


def _swapped(file: str, wide: pd.DataFrame, unit: list[str], measure: list[str]) -> list[Finding]:
    """Compare how the targets rank, in every unit and length, with how they rank in the other units.

    Args:
        file: of the findings.
        wide: a column for each target, a row for each unit, length and measure.
        unit: names of the index that tell what was labelled in one go.
        measure: names of the index that tell what was measured.
    """
    ranks = wide.rank(axis=1)
    alike = ranks.groupby(level=["epoch", *measure])
    others = (alike.transform("sum") - ranks.fillna(0)) / (alike.transform("count") - ranks.notna())
    moved: dict[tuple[Any, ...], set[int]] = {}
    for key, places in ranks.groupby(level=[*unit, "epoch"]).indices.items():
        if labels := _better_labels(ranks.to_numpy()[places], others.to_numpy()[places]):
            targets = tuple(wide.columns[place] for place in labels)
            moved.setdefault((*key[:-1], targets), set()).add(int(key[-1]))
    meaning = "at these lengths the targets rank among each other as elsewhere only with these labels exchanged"
    return [
        Finding("swapped-dataset", file, WARNING, len(epochs), _keys([*unit, "target"], values, epoch=epochs), meaning)
        for values, epochs in moved.items()
    ]


def _better_labels(ranks: NDArray[np.float64], others: NDArray[np.float64]) -> list[int]:
    """Give the columns of `ranks` (N, T) that must be exchanged to fit `others` (N, T), none where they fit as they are."""
    both = ranks[:, None, :] - others[:, :, None]  # (N, T of others, T of ranks)
    known = ~np.isnan(both)
    if not known.any(axis=0).all():
        return []
    cost = np.where(known, np.abs(both), 0).sum(axis=0) / known.sum(axis=0)
    own = range(len(cost))
    best = min(permutations(own), key=lambda order: (cost[own, order].sum(), order))
    if cost[own, best].sum() >= BETTER * cost[own, own].sum():
        return []
    return [place for place in own if best[place] != place]


CHECKS: Mapping[str, Callable[[Tables], list[Finding]]] = {
    "duplicate-rows": _duplicate_rows,
    "conflicting-duplicates": _conflicting_duplicates,
    "seed-count": _seed_count,
    "spelling": _spelling,
    "missing-length": _missing_length,
    "missing-score": _missing_score,
    "join": _join,
    "range": _range,
    "margin-order": _margin_order,
    "dice-jaccard": _dice_jaccard,
    "copied-scores": _copied_scores,
    "saturated-scores": _saturated_scores,
    "duplicated-column": _duplicated_column,
    "duplicated-dice": _duplicated_dice,
    "shifted-list": _shifted_list,
    "accuracy-order": _accuracy_order,
    "swapped-dataset": _swapped_dataset,
}


def audit(downstream: pd.DataFrame, robustness: pd.DataFrame) -> list[Finding]:
    """Run every check.

    Args:
        downstream: of `read_downstream`.
        robustness: of `read_robustness`.

    Returns:
        The findings, errors first, then by check, file and keys: the same in whatever order the lines stand.
    """
    tables = Tables(downstream, robustness)
    found = [finding for check in CHECKS.values() for finding in check(tables)]
    severities, checks = (ERROR, WARNING, INFO), list(CHECKS)
    return sorted(found, key=lambda one: (severities.index(one.severity), checks.index(one.check), one.file, one.keys, one.meaning))


def as_rows(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """Give the rows of `audit.csv`: check, file, severity, count, keys, meaning."""
    return [asdict(finding) for finding in findings]
