"""The outcome by number of training images, for each initialisation of a target."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from medtransfer.analysis.pool import Pool
from medtransfer.metrics.comparison import Interval
from medtransfer.metrics.transfer import Key
from medtransfer.metrics.uncertainty import mean_interval
from medtransfer.records.lineage import are_random
from medtransfer.tasks.contract import Metric

Repeats = Mapping[str, Mapping[int, float]]  # outcomes by fold (empty without folds) and seed


@dataclass(frozen=True)
class SizePoint:
    """Fine-tunings from one initialisation on one number of images.

    Attributes:
        initialisation: its name.
        encoder: encoder of the weights.
        origin: origin of the weights, or their chain, such as `supervised>chestxray14`.
        epoch: key of the candidate; 0 is random.
        size: number or share of the training images; empty: all.
        mean: mean outcome over seeds, then folds.
        std: standard deviation (ddof 1) over folds, or over seeds without folds; None of one.
        interval: Student's interval of the mean over the same; None likewise.
        gain: mean difference to random weights of the same encoder on the same images, over the seeds and folds of both, the
            same weights as in `compare_starts`; None of random weights and where they lack.
        gain_interval: its interval.
        folds: number of folds, 0 without.
        seeds: number of seeds, the fewest of a fold.
        pretraining: digest of the pretraining, where the origin was pretrained in several ways; else empty.
    """

    initialisation: str
    encoder: str
    origin: str
    epoch: Key
    size: str
    mean: float
    std: float | None
    interval: Interval | None
    gain: float | None
    gain_interval: Interval | None
    folds: int
    seeds: int
    pretraining: str = ""


@dataclass(frozen=True)
class SizeCurves:
    """The initialisations of one target, mode and recipe over more than one size.

    Attributes:
        target: name of the target.
        mode: mode of transfer.
        folds: number of folds that the training groups were divided into; empty without.
        metric: metric of the outcomes.
        sizes: the sizes, numbers before shares, ascending; all images, an empty text, last.
        points: by initialisation, then size.
        label: distinguishes results of several recipes or data.
    """

    target: str
    mode: str
    folds: str
    metric: Metric
    sizes: tuple[str, ...]
    points: tuple[SizePoint, ...]
    label: str = ""

    @property
    def name(self) -> str:
        """Readable name."""
        return f"{self.target}, {self.mode}{f', {self.folds} folds' if self.folds else ''}{self.label}"


def curves_over_size(pools: Sequence[Pool], confidence: float) -> list[SizeCurves]:
    """Return the curves of every target, mode, recipe and number of folds that has more than one size.

    Args:
        pools: pools of the store; each has one size and fold.
        confidence: coverage of the intervals.
    """
    groups: dict[tuple[str, ...], list[Pool]] = defaultdict(list)
    for pool in pools:
        fields, folds = pool.fields, pool.portion[1].partition("/")[2]
        groups[fields["target"], fields["mode"], folds, pool.digests.get("data", ""), pool.digests.get("protocol", "")].append(pool)
    several = {key: group for key, group in groups.items() if len({pool.portion[0] for pool in group}) > 1}
    names = [key[:3] for key in several]
    return [
        _curves(key, group, confidence, f" [data {key[3]}, protocol {key[4]}]" if names.count(key[:3]) > 1 else "")
        for key, group in sorted(several.items())
    ]


def _curves(key: tuple[str, ...], pools: Sequence[Pool], confidence: float, label: str) -> SizeCurves:
    outcomes: dict[tuple[str, ...], dict[Key, dict[str, dict[int, float]]]] = {}
    random: dict[tuple[str, str], dict[str, dict[int, float]]] = {}  # by encoder and size, of the first origin that has them
    for pool in sorted(pools, key=lambda pool: (pool.fields["encoder"], origin_of(pool))):
        encoder, (size, fold) = pool.fields["encoder"], pool.portion
        by_candidate = outcomes.setdefault((encoder, origin_of(pool), pool.digests["pretraining"], size), {})
        for (candidate, seed), value in pool.outcome.items():
            if candidate == 0 and not are_random(pool.parents):
                continue  # the weights that it continues from, which are a start of their own
            by_candidate.setdefault(candidate, {}).setdefault(fold, {})[seed] = value
            if candidate == 0:
                random.setdefault((encoder, size), {}).setdefault(fold, {}).setdefault(seed, value)
    pretrainings: dict[tuple[str, str], set[str]] = defaultdict(set)
    for encoder, origin, pretraining, _ in outcomes:
        pretrainings[encoder, origin].add(pretraining)
    sizes = sorted({pool.portion[0] for pool in pools}, key=rank_of_size)
    points = [
        _point((encoder, origin, pretraining if len(pretrainings[encoder, origin]) > 1 else ""), candidate, size,
               by_candidate[candidate], random.get((encoder, size), {}), pools[0].metric, confidence)
        for (encoder, origin, pretraining, size), by_candidate in outcomes.items() for candidate in by_candidate
    ]  # fmt: skip
    order = sorted(
        points, key=lambda one: (one.encoder, one.origin, one.pretraining, str(one.epoch).zfill(9), rank_of_size(one.size))
    )
    return SizeCurves(key[0], key[1], key[2], pools[0].metric, tuple(sizes), tuple(order), label)


def origin_of(pool: Pool) -> str:
    """Return the name of a pool's weights: the chain where they continue from others, else the origin."""
    return pool.chain or pool.fields["origin"]


def rank_of_size(size: str) -> tuple[int, float]:
    """Return the place of a size: numbers before shares, ascending; all images, an empty text, last."""
    return (2, 0.0) if not size else (int(size.endswith("%")), float(size.removesuffix("%")))


def _point(
    weights: Sequence[str], candidate: Key, size: str, repeats: Repeats, random: Repeats, metric: Metric, confidence: float
) -> SizePoint:  # fmt: skip
    encoder, origin, pretraining = weights
    values = by_repetition(repeats)
    gains = [] if candidate == 0 else paired_gains(repeats, random)
    epoch = "random" if candidate == 0 else f"epoch {candidate}"
    return SizePoint(
        f"{encoder} {origin}, {epoch}{f' [{pretraining}]' if pretraining else ''}", encoder, origin, candidate, size, fmean(values),
        stdev(values) if len(values) > 1 else None,
        mean_interval(values, confidence, metric.low, metric.high) if len(values) > 1 else None,
        fmean(gains) if gains else None, mean_interval(gains, confidence) if len(gains) > 1 else None,
        0 if "" in repeats else len(repeats), min(map(len, repeats.values())), pretraining,
    )  # fmt: skip


def paired_gains(repeats: Repeats, others: Repeats) -> list[float]:
    """Return the differences of outcomes to others over the seeds and folds of both, one per repetition."""
    shared = {
        fold: {seed: value - others[fold][seed] for seed, value in seeds.items() if seed in others.get(fold, {})}
        for fold, seeds in repeats.items()
    }  # fmt: skip
    return by_repetition({fold: seeds for fold, seeds in shared.items() if seeds})


def by_repetition(repeats: Repeats) -> list[float]:
    """Return one value per fold, the mean over its seeds; without folds one per seed."""
    if "" in repeats:
        return [value for _, value in sorted(repeats[""].items())]
    return [fmean(seeds.values()) for _, seeds in sorted(repeats.items()) if seeds]
