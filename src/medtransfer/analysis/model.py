"""Results of an analysis: judged candidates, verdicts, summaries and contrasts of the ways of choosing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from medtransfer.analysis.pools import Pool
from medtransfer.metrics.transfer import Key
from medtransfer.selectors.selectors import Selector
from medtransfer.tasks.contract import Metric, shared_label

Interval = tuple[float, float]


@dataclass(frozen=True)
class Candidate:
    """One set of encoder weights in a judged pool.

    Attributes:
        key: its epoch in a series, its name otherwise.
        mean: test outcome over `seeds` seeds.
        std: its standard deviation over seeds (ddof 1); NaN for one seed.
        seeds: how many.
        interval: of the mean, bootstrap over seeds; None for one seed.
        p_best: probability that this is the best candidate; None for one seed.
        within_noise: whether it cannot be distinguished from the best.
        scores: by name, those that were measured.
        score_intervals: bootstrap over images, of the scores whose per-image values are stored.
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

    @property
    def robustness(self) -> float | None:
        """Robustness at the default setting; None when it was not measured."""
        return self.scores.get("robustness")

    @property
    def robustness_interval(self) -> Interval | None:
        """Bootstrap over images; None without stored distances."""
        return self.score_intervals.get("robustness")


@dataclass(frozen=True)
class Verdict:
    """What one way of choosing would have brought in one pool.

    Attributes:
        selector: way of choosing.
        candidate: the chosen one; None for a blind draw, whose values are expected values.
        mean: its mean test outcome over the seeds.
        tis: relative to the best candidate (Eq. 1).
        interval: of TIS, bootstrap over seeds and, where per-image values are stored, over images; None for one seed.
        regret: mean outcome of the best candidate minus `mean`.
        spent: epochs of pretraining that had to be run to make the choice.
        tied: other candidates with the same score.
        within_noise: whether the choice cannot be distinguished from the best; None for a blind draw.
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


@dataclass(frozen=True)
class Judged:
    """One pool with everything that is known of it.

    Attributes:
        pool: as the store knows it.
        candidates: ascending by key, those that were fine-tuned.
        verdicts: empty when nothing can be judged.
        correlations: of robustness with mean outcome over candidates: `spearman`, `kendall`, `weighted_kendall`; may be empty.
        reason: why nothing is judged; empty otherwise.
        notes: what else a reader must know, in sentences.
    """

    pool: Pool
    candidates: tuple[Candidate, ...]
    verdicts: tuple[Verdict, ...]
    correlations: Mapping[str, float]
    reason: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The pool's readable name."""
        return self.pool.name

    @cached_property
    def by_selector(self) -> dict[str, Verdict]:
        """The verdicts by name of the selector."""
        return {verdict.selector.name: verdict for verdict in self.verdicts}

    @property
    def has_seeds(self) -> bool:
        """Whether the outcomes have intervals, that is, several seeds."""
        return bool(self.candidates) and all(candidate.interval is not None for candidate in self.candidates)


@dataclass(frozen=True)
class Summary:
    """One way of choosing over all pools in which it could choose.

    Attributes:
        selector: way of choosing.
        pools: how many.
        mean_tis: over the pools.
        interval: of the mean TIS, bootstrap over pools; None for a single one.
        min_tis: the worst.
        mean_regret: mean absolute loss of the outcome.
        mean_epochs: pretraining epochs spent.
        within_noise: share of pools where the choice cannot be distinguished from the best; None for a blind draw.
        fixed_at_cost: mean TIS of fixed lengths of the same mean cost, interpolated; None outside their range.
    """

    selector: Selector
    pools: int
    mean_tis: float
    interval: Interval | None
    min_tis: float
    mean_regret: float
    mean_epochs: float
    within_noise: float | None
    fixed_at_cost: float | None


@dataclass(frozen=True)
class Contrast:
    """Two ways of choosing, compared in the same pools.

    Attributes:
        first: one selector.
        second: the other, or `EQUAL_COST`.
        pools: how many.
        difference: mean of TIS(first) - TIS(second).
        interval: bootstrap over pools.
        p_value: Wilcoxon signed-rank, two-sided.
        p_holm: corrected for all contrasts of the report (Holm).
        wins: pools where the first is better.
        losses: where it is worse; the rest are ties.
    """

    first: Selector
    second: Selector
    pools: int
    difference: float
    interval: Interval
    p_value: float
    p_holm: float
    wins: int
    losses: int


@dataclass(frozen=True)
class Analysis:
    """Everything that tables, figures and the page show; `warnings` are what weakens all of it, in sentences."""

    judged: tuple[Judged, ...]
    summaries: tuple[Summary, ...]
    contrasts: tuple[Contrast, ...]
    left: tuple[str, ...]
    confidence: float
    draws: int
    seed: int
    warnings: tuple[str, ...] = ()

    @cached_property
    def by_selector(self) -> dict[str, Summary]:
        """The summaries by name of the selector."""
        return {summary.selector.name: summary for summary in self.summaries}

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the pools, each once."""
        return tuple(dict.fromkeys(judged.pool.metric for judged in self.judged))

    @property
    def metric_label(self) -> str:
        """Label of the pools' metric; `metric` where they have several."""
        return shared_label(self.metrics)

    def contrast(self, first: str, second: str) -> Contrast | None:
        """Return the contrast of two selectors, given by name; None where they were not compared."""
        return next((c for c in self.contrasts if (c.first.name, c.second.name) == (first, second)), None)
