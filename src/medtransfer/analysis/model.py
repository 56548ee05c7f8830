"""Configurations go in; every number of the report, with its uncertainty, comes out: checkpoints, selectors, contrasts."""

from dataclasses import dataclass

from medtransfer.analysis.pools import Configuration

Interval = tuple[float, float]


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a configuration.

    Attributes:
        epoch: of pretraining.
        dice: mean test Dice over `seeds` seeds, in [0, 1].
        std: its standard deviation over seeds (ddof 1); NaN for one seed.
        seeds: how many.
        dice_interval: bootstrap over seeds; None for one seed.
        p_best: probability that this is the best checkpoint; None for one seed.
        within_noise: whether it cannot be told apart from the best.
        robustness: at the default setting; None when it was not measured.
        robustness_interval: bootstrap over images; None without stored pairs.
        accuracy: source accuracy in [0, 1]; None when unknown.
    """

    epoch: int
    dice: float
    std: float
    seeds: int
    dice_interval: Interval | None
    p_best: float | None
    within_noise: bool
    robustness: float | None
    robustness_interval: Interval | None
    accuracy: float | None


@dataclass(frozen=True)
class Verdict:
    """What one way of choosing would have brought on one configuration.

    Attributes:
        selector: its name; `random` has no epoch and gives the expected value.
        epoch: the chosen checkpoint.
        dice: its mean test Dice over the seeds.
        tis: relative to the best checkpoint (Eq. 1).
        interval: of TIS, bootstrap over seeds and, where pairs are stored, over images; None for one seed.
        regret: best mean Dice minus `dice`.
        spent: epochs of pretraining that had to be run to make the choice.
        tied: other epochs with the same score.
        within_noise: whether the choice cannot be told apart from the best; None for `random`.
    """

    selector: str
    epoch: int | None
    dice: float
    tis: float
    interval: Interval | None
    regret: float
    spent: float
    tied: tuple[int, ...]
    within_noise: bool | None


@dataclass(frozen=True)
class Judged:
    """One configuration with everything that is known of it.

    Attributes:
        configuration: as the store knows it.
        checkpoints: by epoch, those that were fine-tuned.
        verdicts: empty when nothing can be judged.
        correlations: of robustness with mean Dice over epochs: `spearman`, `kendall`, `weighted_kendall`; may be empty.
        reason: why nothing is judged; empty otherwise.
        notes: what else a reader must know, in sentences.
    """

    configuration: Configuration
    checkpoints: tuple[Checkpoint, ...]
    verdicts: tuple[Verdict, ...]
    correlations: dict[str, float]
    reason: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Give the configuration's readable name."""
        return self.configuration.name


@dataclass(frozen=True)
class Summary:
    """One way of choosing over all configurations in which it could choose.

    Attributes:
        selector: its name.
        configurations: how many.
        mean_tis: and its bootstrap interval over configurations, None for a single one.
        interval: of the mean TIS.
        min_tis: the worst.
        mean_regret: mean absolute loss of Dice.
        mean_epochs: pretraining epochs spent.
        within_noise: share of configurations where the choice cannot be told apart from the best; None for `random`.
        fixed_at_cost: mean TIS of fixed lengths of the same mean cost, interpolated; None outside their range.
    """

    selector: str
    configurations: int
    mean_tis: float
    interval: Interval | None
    min_tis: float
    mean_regret: float
    mean_epochs: float
    within_noise: float | None
    fixed_at_cost: float | None


@dataclass(frozen=True)
class Contrast:
    """Two ways of choosing, compared on the same configurations.

    Attributes:
        first: selector.
        second: selector, or `fixed at equal cost`.
        configurations: how many.
        difference: mean of TIS(first) - TIS(second).
        interval: bootstrap over configurations.
        p_value: Wilcoxon signed-rank, two-sided.
        p_holm: corrected for all contrasts of the report (Holm).
        wins: configurations where the first is better.
        losses: where it is worse; the rest are ties.
    """

    first: str
    second: str
    configurations: int
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
