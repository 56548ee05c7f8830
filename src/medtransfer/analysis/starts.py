"""Initialisations of one target side by side: tests against one of them, and those that cannot be told from the best."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from medtransfer.analysis.by_size import Repeats, by_repetition, origin_of, paired_gains, rank_of_size
from medtransfer.analysis.pool import Pool
from medtransfer.errors import InputError
from medtransfer.metrics.comparison import Interval, holm
from medtransfer.metrics.transfer import Key
from medtransfer.metrics.two_samples import Summary, equivalence_p, hedges_g, mann_whitney_p, student, welch
from medtransfer.metrics.uncertainty import confidence_set, estimate, mean_interval
from medtransfer.records.lineage import are_random
from medtransfer.tasks.contract import Metric


@dataclass(frozen=True)
class Start:
    """One initialisation.

    Attributes:
        name: its name.
        encoder: encoder of the weights.
        origin: origin of the weights, or their chain, such as `supervised>chestxray14`; empty for random ones.
        epoch: key of the candidate.
        repeats: outcomes by fold and seed.
        runs: ids of the fine-tunings' runs, and the fold of each; empty without folds.
        seedless: whether its outcomes are equal with every seed.
    """

    name: str
    encoder: str
    origin: str
    epoch: Key
    repeats: Repeats
    runs: Mapping[str, str]
    seedless: bool = False

    @property
    def values(self) -> list[float]:
        """One outcome per fold, the mean over its seeds; without folds one per seed."""
        return by_repetition(self.repeats)


@dataclass(frozen=True)
class Tests:
    """Two-sided p-values and effect size of a start's mean against the reference's, taken as independent samples.

    Attributes:
        student: p-value of the t test with one variance, which papers report.
        welch: p-value with a variance for each.
        holm: that p-value after Holm's correction for all starts of the target.
        mann_whitney: p-value of the rank-sum test.
        effect: Hedges' g, above 0 where the start is better; NaN without any spread.
        equivalence: p-value of the means being further apart than the margin.
    """

    student: float
    welch: float
    holm: float
    mann_whitney: float
    effect: float
    equivalence: float


@dataclass(frozen=True)
class Compared:
    """A start beside the others of its target.

    Attributes:
        start: the start.
        mean: mean outcome.
        std: standard deviation (ddof 1); None of one value.
        gain: mean difference to the reference over shared seeds and folds; None of the reference, and where none is shared.
        gain_interval: Student's interval of these differences; None of fewer than two.
        tests: None of the reference, and with fewer than two values of either.
        unbeaten: whether it cannot be told from the best; None where a start has a single value, and where none learned anything.
        is_reference: whether others are compared with it.
    """

    start: Start
    mean: float
    std: float | None
    gain: float | None
    gain_interval: Interval | None
    tests: Tests | None
    unbeaten: bool | None
    is_reference: bool = False


@dataclass(frozen=True)
class StartComparison:
    """The starts of one target in one mode, by one recipe, on one number of training images.

    Attributes:
        target: name of the target.
        mode: mode of transfer.
        size: number or share of training images; empty: all.
        folds: number of folds; empty without.
        metric: metric of the outcomes.
        rows: the starts from the best mean to the worst.
        label: distinguishes results of several recipes or data.
        constant: outcome of the same prediction in every pixel; minus infinity where it is not known.
        floor: mean outcome up to which models learned nothing.
    """

    target: str
    mode: str
    size: str
    folds: str
    metric: Metric
    rows: tuple[Compared, ...]
    label: str = ""
    constant: float = -math.inf
    floor: float = -math.inf

    @property
    def has_learned(self) -> bool:
        """Whether any start has an outcome above the floor."""
        return self.rows[0].mean > self.floor

    @property
    def is_balanced(self) -> bool:
        """Whether all starts have the same folds, and the same seeds where their outcomes depend on these."""
        return _are_balanced([row.start for row in self.rows])

    @property
    def name(self) -> str:
        """Readable name."""
        size = f", {self.size}{' of the' if self.size.endswith('%') else ''} images" if self.size else ""
        return f"{self.target}, {self.mode}{size}{f', {self.folds} folds' if self.folds else ''}{self.label}"


def compare_starts(
    pools: Sequence[Pool], confidence: float, margin: float, reference: str | None = None, least: float = 0.0
) -> list[StartComparison]:  # fmt: skip
    """Compare the last checkpoint of every pretraining, and random weights, target by target.

    Args:
        pools: pools of the store.
        confidence: coverage of the intervals and of the set of the best.
        margin: of the equivalence test, in units of the metric.
        reference: origin that the others are tested against; None: the random weights of the same encoder.
        least: share of the way from chance to the highest value up to which models learned nothing.

    Returns:
        One comparison for every target, mode, size, number of folds, data and recipe that has more than one start.

    Raises:
        InputError: there are no weights of the reference.
    """
    groups: dict[tuple[str, ...], list[Pool]] = defaultdict(list)
    for pool in pools:
        size, fold = pool.portion
        digests = (pool.digests.get(name, "") for name in ("data", "protocol"))
        groups[pool.fields["target"], pool.fields["mode"], size, fold.partition("/")[2], *digests].append(pool)
    known = sorted({origin_of(pool) for pool in pools})
    if reference is not None and reference not in known:
        raise InputError(
            f"expected report.reference to be one of the origins {', '.join(known)}, or null for random weights, but got "
            f"{reference!r}; correct it"
        )
    several = {key: starts for key, group in groups.items() if len(starts := _starts(group)) > 1}
    names = [key[:4] for key in several]
    comparisons = []
    for key, starts in sorted(several.items(), key=lambda item: (*item[0][:2], rank_of_size(item[0][2]), item[0][3:])):
        target, mode, size, folds, data, protocol = key
        label = f" [data {data}, protocol {protocol}]" if names.count(key[:4]) > 1 else ""
        metric = groups[key][0].metric
        rows = _rows(starts, confidence, margin, reference, metric.floor(least))
        constant = max(pool.constant for pool in groups[key])
        comparisons.append(StartComparison(target, mode, size, folds, metric, rows, label, constant, metric.floor(least)))
    return comparisons


def _starts(pools: Sequence[Pool]) -> list[Start]:
    """Return the last fine-tuned candidate of every pretraining, and random weights once per encoder."""
    found: dict[tuple[str, str, str, Key], tuple[dict[str, dict[int, float]], dict[str, str]]] = {}
    seeded = set[tuple[str, str, str, Key]]()  # those with results that depend on the seed
    for pool in sorted(pools, key=lambda pool: (pool.fields["encoder"], origin_of(pool))):
        encoder, origin = pool.fields["encoder"], origin_of(pool)
        random = {0} if are_random(pool.parents) else set()  # epoch 0 of weights that continue from others are those
        last = [key for key in pool.candidates if key in pool.values][-1:]  # later ones may be scored alone
        for key in {*last, *random} & set(pool.values):
            weights = (encoder, "", "") if key in random else (encoder, origin, pool.digests["pretraining"])
            repeats, runs = found.setdefault((*weights, key), ({}, {}))
            seeded |= set() if pool.seedless else {(*weights, key)}
            for (candidate, seed), value in sorted(pool.outcome.items()):
                if candidate == key and seed not in repeats.get(pool.portion[1], {}):
                    repeats.setdefault(pool.portion[1], {})[seed] = value
                    runs |= {pool.fine_tunings[key, seed]: pool.portion[1]} if (key, seed) in pool.fine_tunings else {}
    return [
        Start(
            f"{encoder} {f'{origin}, epoch {key}' if origin else 'random'}{_apart(found, weights)}", encoder, origin, key, repeats,
            runs, (*weights, key) not in seeded,
        )
        for (*weights, key), (repeats, runs) in found.items() for encoder, origin in [weights[:2]]
    ]  # fmt: skip


def _apart(found: Mapping[tuple[str, str, str, Key], object], weights: Sequence[str]) -> str:
    """Name the pretraining where the same origin was pretrained in several ways."""
    alike = {key[2] for key in found if key[:2] == tuple(weights[:2])}
    return f" [{weights[2]}]" if len(alike) > 1 else ""


def _rows(
    starts: Sequence[Start], confidence: float, margin: float, reference: str | None, floor: float
) -> tuple[Compared, ...]:  # fmt: skip
    references = {start.name: _reference(start, starts, reference) for start in starts}
    pairs = {start.name: (start, other) for start in starts if (other := references[start.name]) is not None}
    tested = {name: pair for name, pair in pairs.items() if min(len(one.values) for one in pair) > 1}
    corrected = holm([welch(*(Summary.of(one.values) for one in pair)).p for pair in tested.values()])
    tests = {name: _tests(*pair, p, margin) for (name, pair), p in zip(tested.items(), corrected, strict=True)}
    best = _unbeaten(starts, confidence) if max(fmean(start.values) for start in starts) > floor else None
    compared_with = {other.name for _, other in pairs.values()}
    rows = [
        Compared(
            start, fmean(start.values), stdev(start.values) if len(start.values) > 1 else None,
            *_gain(*pairs[start.name], confidence) if start.name in pairs else (None, None), tests.get(start.name),
            None if best is None else start.name in best, start.name in compared_with,
        )
        for start in starts
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-row.mean, row.start.name)))


def _reference(start: Start, starts: Sequence[Start], origin: str | None) -> Start | None:
    """Return what a start is compared with, random weights of its own encoder alone; None for a reference itself."""
    wanted = [one for one in starts if one.origin == (origin or "")]
    if start in wanted:
        return None
    same = [one for one in wanted if one.encoder == start.encoder]
    return next(iter(same or (wanted if origin else [])), None)


def _gain(start: Start, other: Start, confidence: float) -> tuple[float | None, Interval | None]:
    gains = paired_gains(start.repeats, other.repeats)
    return fmean(gains) if gains else None, mean_interval(gains, confidence) if len(gains) > 1 else None


def _tests(start: Start, other: Start, corrected: float, margin: float) -> Tests:
    first, second = Summary.of(start.values), Summary.of(other.values)
    return Tests(
        student(first, second).p, welch(first, second).p, corrected, mann_whitney_p(start.values, other.values),
        hedges_g(first, second), equivalence_p(first, second, margin),
    )  # fmt: skip


def _unbeaten(starts: Sequence[Start], confidence: float) -> set[object] | None:
    values = {start.name: start.values for start in starts}
    if min(map(len, values.values())) < 2:
        return None
    random = {start.name for start in starts if not start.origin}
    return set(confidence_set(estimate(values, apart=random, blocked=_are_balanced(starts)), confidence))


def _are_balanced(starts: Sequence[Start]) -> bool:
    """Return whether starts have the same folds and seeds, as far as their outcomes depend on these."""
    repeated = {
        tuple((fold, *(() if start.seedless else sorted(seeds))) for fold, seeds in sorted(start.repeats.items()))
        for start in starts
    }  # fmt: skip
    return len(repeated) == 1
