"""Results of an analysis: judged candidates, and verdicts, summaries and contrasts of selectors."""

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
        seeds: number of seeds.
        interval: bootstrap interval of the mean, over seeds; None for one seed.
        p_best: probability that this is the best candidate; None for one seed.
        within_noise: whether it cannot be distinguished from the best.
        scores: measured scores by name.
        score_intervals: bootstrap intervals over images, of the scores whose per-image values are stored.
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
        """Robustness at the default setting; None if it was not measured."""
        return self.scores.get("robustness")

    @property
    def robustness_interval(self) -> Interval | None:
        """Bootstrap interval of the robustness, over images; None without stored distances."""
        return self.score_intervals.get("robustness")


@dataclass(frozen=True)
class Verdict:
    """Outcome of one selector in one pool.

    Attributes:
        selector: the selector.
        candidate: the chosen candidate; None for a uniform draw, whose values are expected values.
        mean: its mean test outcome over the seeds.
        tis: `mean` relative to the best candidate (Eq. 1).
        interval: bootstrap interval of TIS over seeds and, if per-image values are stored, over images; None for one seed.
        regret: mean outcome of the best candidate minus `mean`.
        spent: epochs of pretraining that must be run for the choice.
        tied: other candidates with the same score.
        within_noise: whether the choice cannot be distinguished from the best; None for a uniform draw.
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
        mean_tis: mean TIS over the pools.
        interval: bootstrap interval of the mean TIS, over pools; None for a single pool.
        min_tis: lowest TIS.
        mean_regret: mean regret.
        mean_epochs: mean epochs of pretraining spent.
        within_noise: share of pools where the choice cannot be distinguished from the best; None for a uniform draw.
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
    """Comparison of two selectors in the same pools.

    Attributes:
        first: one selector.
        second: the other selector, or `EQUAL_COST`.
        pools: number of pools.
        difference: mean of TIS(first) - TIS(second).
        interval: bootstrap interval over pools.
        p_value: p-value of the two-sided Wilcoxon signed-rank test.
        p_holm: `p_value`, corrected for all contrasts of the report (Holm).
        wins: number of pools where the first is better.
        losses: number of pools where it is worse; the rest are ties.
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
    """Everything that tables, figures and the page show; `warnings` are sentences on what weakens all of it."""

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
        """Summaries by name of the selector."""
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
        """Return the contrast of two selectors, given by name; None if they were not compared."""
        return next((c for c in self.contrasts if (c.first.name, c.second.name) == (first, second)), None)
