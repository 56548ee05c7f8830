"""Results of an analysis: judged candidates, and verdicts, summaries and contrasts of selectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from medtransfer.analysis.by_size import SizeCurves, curves_over_size
from medtransfer.analysis.learning import Learning
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.pruning import Pruning
from medtransfer.analysis.starts import StartComparison
from medtransfer.metrics.comparison import ClusterMean, Interval, Outcome
from medtransfer.metrics.transfer import Key
from medtransfer.records.feature_map import FeatureMap
from medtransfer.records.similarity import Similarity
from medtransfer.seeds import derive_seed
from medtransfer.selectors.selectors import Selector
from medtransfer.tasks.contract import Metric, shared_label


@dataclass(frozen=True)
class Sampling:
    """How intervals are computed.

    Attributes:
        draws: number of bootstrap draws.
        confidence: coverage of the intervals.
        seed: seed of the draws.
        margin: differences of TIS up to this are equivalent.
        least: mean outcome up to which models learned nothing.
        patients: most fine-tunings whose test patients are resampled; 0 for none.
    """

    draws: int
    confidence: float
    seed: int
    margin: float
    least: float
    patients: int = 0

    def generator(self, *parts: str) -> np.random.Generator:
        """Return the random generator of a part of the report, which is independent of all others."""
        return np.random.default_rng(derive_seed(self.seed, *parts))


@dataclass(frozen=True)
class Candidate:
    """One set of encoder weights in a judged pool.

    Attributes:
        key: its epoch in a series, its name otherwise.
        mean: test outcome over `seeds` seeds.
        std: its standard deviation over seeds (ddof 1); NaN for one seed.
        seeds: number of seeds.
        interval: Student's interval of the mean, over seeds; None for one seed.
        p_best: probability that this is the best candidate; None with fewer seeds than make it calibrated.
        within_noise: whether it cannot be distinguished from the best.
        scores: measured scores by name.
        score_intervals: intervals over groups of images, of the scores whose per-image values are stored; none of a single
            group.
        rise: by how much the robustness is above that of the candidate before, and the standard error of this difference over
            groups of images, None for a single group; None without per-image values or a candidate before.
    """

    key: Key
    mean: float
    std: float
    seeds: int
    interval: Interval | None
    p_best: float | None
    within_noise: bool
    scores: Mapping[str, float]
    score_intervals: Mapping[str, Interval]
    rise: tuple[float, float | None] | None = None

    @property
    def robustness(self) -> float | None:
        """Robustness at the default setting; None if it was not measured."""
        return self.scores.get("robustness")

    @property
    def robustness_interval(self) -> Interval | None:
        """Interval of the robustness, over groups of images; None without stored distances, and for a single group."""
        return self.score_intervals.get("robustness")


@dataclass(frozen=True)
class Verdict:
    """Outcome of one selector in one pool.

    Attributes:
        selector: the selector.
        candidate: the chosen candidate; None for a uniform draw or a choice that differs from seed to seed, whose values are
            expected values.
        mean: its mean test outcome over the seeds.
        tis: `mean` relative to the best candidate (Eq. 1).
        interval: interval of the TIS of the choice that was made, over seeds; None for one seed, and for a choice by
            outcomes.
        regret: mean outcome of the best candidate minus `mean`.
        spent: epochs of pretraining that must be run for the choice.
        tied: other candidates with the same score.
        within_noise: whether the choice cannot be distinguished from the best; None without a single choice.
        stability: share of bootstrap draws of groups of images in which the score would have chosen the same candidate; None
            where the score has no per-image values, or those of a single group.
        fine_tunings: fine-tunings that must be run for the choice.
    """

    selector: Selector
    candidate: Key | None
    mean: float
    tis: float
    interval: Interval | None
    regret: float
    spent: float
    tied: tuple[Key, ...]
    within_noise: bool | None
    stability: float | None = None
    fine_tunings: int = 0


@dataclass(frozen=True)
class Judged:
    """One judged pool.

    Attributes:
        pool: the pool as read from the store.
        candidates: fine-tuned candidates, ascending by key.
        verdicts: verdicts of the selectors; empty if the pool cannot be judged.
        correlations: `spearman`, `kendall` and `weighted_kendall` of robustness with mean outcome over candidates; may be empty.
        reason: why the pool cannot be judged; empty if it can.
        notes: further remarks, in sentences.
    """

    pool: Pool
    candidates: tuple[Candidate, ...]
    verdicts: tuple[Verdict, ...]
    correlations: Mapping[str, float]
    reason: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Readable name of the pool."""
        return self.pool.name

    @cached_property
    def by_selector(self) -> dict[str, Verdict]:
        """Verdicts by name of the selector."""
        return {verdict.selector.name: verdict for verdict in self.verdicts}

    @cached_property
    def fixed(self) -> dict[int, float]:
        """TIS of the fixed lengths, by length in epochs."""
        return {verdict.selector.length: verdict.tis for verdict in self.verdicts if verdict.selector.length is not None}

    @property
    def has_seeds(self) -> bool:
        """Whether the outcomes have several seeds, and so intervals."""
        return bool(self.candidates) and all(candidate.interval is not None for candidate in self.candidates)


@dataclass(frozen=True)
class Summary:
    """One selector over all pools in which it can choose.

    Attributes:
        selector: the selector.
        pools: number of pools.
        clusters: number of pretrainings or targets that the interval counts; without one, that there are.
        mean_tis: mean TIS over the pools.
        interval: interval of the mean TIS, over clusters; None with too few.
        min_tis: lowest TIS.
        mean_regret: mean regret.
        mean_epochs: mean epochs of pretraining spent, each pool with a pretraining of its own.
        shared_epochs: mean epochs of the pretrainings when each serves all its pools, and so runs to the longest stop.
        within_noise: share of pools with several seeds where the choice cannot be distinguished from the best; None without
            such pools, and without single choices.
        fixed_at_cost: mean TIS of fixed lengths of the cost `mean_epochs`, interpolated; None outside their range.
        fixed_at_shared: likewise of the cost `shared_epochs`.
        mean_fine_tunings: mean number of fine-tunings before the choice, by either account of the epochs.
    """

    selector: Selector
    pools: int
    clusters: int
    mean_tis: float
    interval: Interval | None
    min_tis: float
    mean_regret: float
    mean_epochs: float
    shared_epochs: float
    within_noise: float | None
    fixed_at_cost: float | None
    fixed_at_shared: float | None
    mean_fine_tunings: float = 0.0


@dataclass(frozen=True)
class Contrast:
    """Comparison of two selectors in the same pools.

    Attributes:
        first: one selector.
        second: the other selector, or `EQUAL_COST`.
        pools: number of pools.
        clusters: number of pretrainings or targets that the interval counts; without one, that there are.
        difference: mean of TIS(first) - TIS(second).
        interval: interval of the mean, over clusters; None with too few, and where all differences are 0.
        p_value: two-sided p-value of the same t statistic; None with too few clusters.
        p_holm: `p_value`, corrected for all contrasts of the report (Holm).
        wins: number of pools where the first is better.
        losses: number of pools where it is worse; the rest are ties.
        outcome: what the difference shows (`ClusterMean.outcome`).
        detectable: smallest difference that would be called better or worse in four of five such studies; None with too few
            clusters, and where the differences do not vary, which cannot decide anything.
    """

    first: Selector
    second: Selector
    pools: int
    clusters: int
    difference: float
    interval: Interval | None
    p_value: float | None
    p_holm: float | None
    wins: int
    losses: int
    outcome: Outcome
    detectable: float | None

    @property
    def is_same(self) -> bool:
        """Whether both selectors have the same TIS in every pool."""
        return not self.wins and not self.losses


@dataclass(frozen=True)
class Association:
    """Mean rank correlations within configurations.

    Attributes:
        robustness: of robustness with the outcome.
        epoch: of the epoch with the outcome.
        given_epoch: of robustness with the outcome, given the epoch (partial Spearman correlation); None if it is nowhere defined.
        configurations: number of configurations that the first two are means over.
        given_in: number of those in which the partial correlation is defined: neither side follows the epoch exactly.
    """

    robustness: ClusterMean
    epoch: ClusterMean
    given_epoch: ClusterMean | None
    configurations: int
    given_in: int


@dataclass(frozen=True)
class Power:
    """What the seeds of the study can see, as medians over configurations.

    Attributes:
        gap: smallest gap of TIS between two candidates that is seen with a probability of POWER.
        seeds: number of seeds with which a gap of the margin would be seen at the median spread of a target's, by target.
    """

    gap: float
    seeds: Mapping[str, float]


@dataclass(frozen=True)
class Patients:
    """What other test patients would change, by bootstrap of the patients, the same for every candidate.

    Attributes:
        pools: number of configurations whose fine-tunings have counts by image.
        fewest: lowest number of test patients of a configuration.
        same_best: share of draws in which the best candidate stays the best, mean over the configurations.
        deviation: standard deviation of the TIS of the choice by robustness, offline, mean over the configurations; None
            without such choices.
    """

    pools: int
    fewest: int
    same_best: float
    deviation: float | None


@dataclass(frozen=True)
class BetweenSeeds:
    """Spread between pretrainings that differ in their seed alone, pooled over configurations; fine-tuning adds its own.

    Attributes:
        groups: number of configurations with several pretraining seeds.
        seeds: lowest number of seeds of one.
        best: standard deviation of the mean outcome of the best candidate.
        tis: that of the TIS of the choice by robustness, offline; None without such choices.
    """

    groups: int
    seeds: int
    best: float
    tis: float | None


@dataclass(frozen=True)
class Evidence:
    """Further evidence; each part is None, or lacks a selector, where the data do not allow it.

    Attributes:
        association: rank correlations of robustness and epoch with the outcome.
        permuted: by selector, the share of permutations of its choices within encoder and mode that bring at least its TIS.
        power: what the seeds can see.
        trials: by selector that fine-tunes candidates first, the difference of its TIS to the last candidate's, over the seeds
            that the candidates share.
        patients: what other test patients would change.
        between_seeds: the spread between pretraining seeds.
        notes: why a part is missing, in sentences.
    """

    association: Association | None = None
    permuted: Mapping[str, float] = field(default_factory=dict)
    power: Power | None = None
    trials: Mapping[str, ClusterMean] = field(default_factory=dict)
    patients: Patients | None = None
    between_seeds: BetweenSeeds | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Analysis:
    """Everything that tables, figures and the page show.

    Attributes:
        judged: the pools.
        summaries: the selectors over all pools.
        contrasts: comparisons of selectors.
        evidence: further evidence.
        left: lines on what was left out.
        plan: lines on what the section `study` plans and is not judged, and the other way round.
        sampling: how intervals are computed.
        warnings: sentences on what weakens all of it.
        eta: factor of the race that pruning is judged for; 0 if it is not judged.
        prunings: what pruning by each score would have left in.
        starts: the initialisations of every target side by side.
        learned: of each comparison in `starts`, the initialisations with validation curves.
        maps: maps of the features of candidates, by target and candidate.
        similarities: comparisons of encoders by linear CKA, by target.
        reference: origin that `starts` are tested against; None: random weights.
    """

    judged: tuple[Judged, ...]
    summaries: tuple[Summary, ...]
    contrasts: tuple[Contrast, ...]
    evidence: Evidence
    left: tuple[str, ...]
    sampling: Sampling
    warnings: tuple[str, ...] = ()
    eta: int = 0
    prunings: tuple[Pruning, ...] = ()
    starts: tuple[StartComparison, ...] = ()
    learned: tuple[tuple[Learning, ...], ...] = ()
    maps: Mapping[str, Mapping[str, FeatureMap]] = field(default_factory=dict)
    similarities: Mapping[str, list[Similarity]] = field(default_factory=dict)
    reference: str | None = None
    plan: tuple[str, ...] = ()

    @property
    def confidence(self) -> float:
        """Coverage of the intervals."""
        return self.sampling.confidence

    @cached_property
    def by_selector(self) -> dict[str, Summary]:
        """Summaries by name of the selector."""
        return {summary.selector.name: summary for summary in self.summaries}

    @cached_property
    def sizes(self) -> list[SizeCurves]:
        """The outcome by number of training images, where there is more than one number."""
        return curves_over_size([judged.pool for judged in self.judged], self.confidence)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the pools, each once."""
        return tuple(dict.fromkeys(judged.pool.metric for judged in self.judged))

    @property
    def metric_label(self) -> str:
        """Label of the pools' metric; `metric` where they have several."""
        return shared_label(self.metrics)

    def pools_with(self, *selectors: str) -> list[Pool]:
        """Return the pools in which all of the selectors, given by name, can choose."""
        return [judged.pool for judged in self.judged if all(name in judged.by_selector for name in selectors)]

    def contrast(self, first: str, second: str) -> Contrast | None:
        """Return the contrast of two selectors, given by name; None if they were not compared."""
        return next((c for c in self.contrasts if (c.first.name, c.second.name) == (first, second)), None)
