"""Everything that the page shows, and its text in plain sentences, which claim no more than the numbers support."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medtransfer.explain.association import Association, Associations, associate
from medtransfer.explain.cases import Case, Cases
from medtransfer.explain.quantities import QUANTITIES, ROBUSTNESS
from medtransfer.explain.steps import Step, list_steps
from medtransfer.metrics.comparison import LEAST_CLUSTERS, ClusterMean, correlation_interval
from medtransfer.metrics.ties import rounded
from medtransfer.metrics.transfer import Key, named
from medtransfer.report.format import signed
from medtransfer.report.verdict_text import counted
from medtransfer.tasks.contract import shared_label

FEW_EPOCHS = 6  # fewer checkpoints after epoch 0 leave a partial correlation of a configuration almost arbitrary
MOST_NAMED = 8  # steps that part, and configurations, are named up to this number


@dataclass(frozen=True)
class Explanation:
    """Results for the page.

    Attributes:
        cases: the configurations.
        associations: what goes with the outcome.
        steps: between neighbouring checkpoints, at every level.
        level: level of the default robustness.
        confidence: coverage of the intervals.
        notes: what was left out, and why.
    """

    cases: tuple[Case, ...]
    associations: Associations
    steps: tuple[Step, ...]
    level: int
    confidence: float
    notes: tuple[str, ...]

    @classmethod
    def of(cls, cases: Cases, confidence: float) -> "Explanation":
        """Compute all results."""
        steps = tuple(list_steps(cases.cases, confidence))
        return cls(cases.cases, associate(cases.cases), steps, cases.level, confidence, cases.notes)

    @property
    def metric(self) -> str:
        """Label of the outcome."""
        return shared_label(case.pool.metric for case in self.cases)

    @property
    def robustness(self) -> Association | None:
        """Association of the default robustness."""
        return self.associations.find(ROBUSTNESS, self.level)

    def steps_at(self, level: int) -> list[Step]:
        """Return the steps of one level."""
        return [step for step in self.steps if step.level == level]


def verdict(explanation: Explanation) -> str:
    """Say in a few sentences whether robustness tells more about the outcome than the epoch does."""
    row, epoch, metric = explanation.robustness, explanation.associations.epoch, explanation.metric
    if row is None or epoch is None:
        return (
            f"Whether robustness goes with {metric} cannot be said: no configuration has four checkpoints after epoch 0 between "
            "which both vary."
        )
    text = (
        f"Over the checkpoints of a configuration, {metric} has a mean rank correlation of {signed(row.outcome.value, 2)} with "
        f"robustness (level {row.level}) and of {signed(epoch.value, 2)} with the epoch alone. "
    )
    if explanation.associations.epochs < FEW_EPOCHS:
        return (
            f"{text}Whether anything of that is left given the epoch cannot be said from as few as "
            f"{explanation.associations.epochs} checkpoints after epoch 0 (the table has the numbers)."
        )
    if row.given_epoch is None:
        return f"{text}Given the epoch nothing is left to correlate: one of the two has the order of the epochs everywhere."
    text += f"Of that with robustness, {_left(row, explanation.confidence)}"
    if row.p_value is None:
        return f"{text}. {_untested(explanation.cases, [row])}"
    if row.p_value >= 1 - explanation.confidence:
        return f"{text}. So it is not shown that robustness tells more about {metric} than the length of the pretraining does."
    if row.given_epoch.value > 0:
        return f"{text}. So robustness tells something about {metric} that the epoch does not."
    return f"{text}. So among checkpoints of an epoch, higher robustness goes with lower {metric}."


def _left(row: Association, confidence: float) -> str:
    """Say what is left of an association without the epoch, by both ways to take it out."""
    parts = [f"{_with_interval(row.given_epoch, confidence)} is left given the epoch"] if row.given_epoch else []
    if row.epoch_removed:
        parts.append(f"{_with_interval(row.epoch_removed, confidence)} without the mean course over the epochs")
    return " and ".join(parts)


def _with_interval(mean: ClusterMean, confidence: float) -> str:
    bounds = correlation_interval(mean, confidence)
    between = f" ({100 * confidence:g} % interval {signed(bounds[0], 2)} to {signed(bounds[1], 2)})" if bounds else ""
    return signed(mean.value, 2) + between


def _untested(cases: Sequence[Case], rows: Sequence[Association]) -> str:
    """Say why associations are not tested."""
    weights, targets = ({case.pool.weights for case in cases}, {case.pool.fields["target"] for case in cases})
    text = (
        f"This is not tested against chance: it takes {LEAST_CLUSTERS} pretrainings or targets whose configurations have both "
        f"numbers, of {counted(len(weights), 'pretraining')} and {counted(len(targets), 'target')}"
    )
    ordered = max(row.follows_epoch for row in rows)
    if not ordered:
        return f"{text}."
    return (
        f"{text}; given the epoch nothing is left in {'up to ' if len(rows) > 1 else ''}{ordered} of {len(cases)} configurations, "
        "in which one side has exactly the order of the epochs."
    )


def particulars(explanation: Explanation) -> list[str]:
    """Return further sentences: on directions, on the other quantities, and on where each configuration is best."""
    return [
        *_directions(explanation), *_quantities(explanation), *_drivers(explanation),
        *_peaks(explanation),
    ]  # fmt: skip


def _directions(explanation: Explanation) -> list[str]:
    steps, metric = explanation.steps_at(explanation.level), explanation.metric
    if not steps:
        return []
    same = sum(step.same_direction for step in steps)
    seen = [step for step in steps if step.is_seen]
    count = Counter(step.relation for step in steps)
    told = f"the change of {metric} can" if seen else f"can the change of {metric}"
    text = (
        f"From one checkpoint to the next, robustness (level {explanation.level}) and {metric} change in the same direction in "
        f"{same} of {len(steps)} steps; of unrelated changes about half would. In {len(seen) or 'none'} of them "
        f"{told} be told from chance over the seeds, after correction for their number (Holm)"
    )
    if not seen:
        return [f"{text}, so where the two really part cannot be said."]
    unclear = sum(step.relation == "undecided" for step in seen)
    rest = f", in {unclear} which way it moves cannot be told" if unclear else ""
    sentences = [f"{text}: in {count['agree']} robustness moves with it, in {count['part']} against it{rest}."]
    parted = [step for step in steps if step.relation == "part"]
    if parted:
        listed = "; ".join(f"{step.configuration}: {_described(step, metric)}" for step in _largest(parted)[:MOST_NAMED])
        more = f"; and {len(parted) - MOST_NAMED} more" if len(parted) > MOST_NAMED else ""
        sentences.append(f"They part in: {listed}{more}.")
    return sentences


def _largest(steps: Sequence[Step]) -> list[Step]:
    return sorted(steps, key=lambda step: -abs(step.outcome))


def _described(step: Step, metric: str) -> str:
    return f"epoch {step.start} to {step.end}, {metric} {signed(step.outcome)}, robustness {signed(step.robustness)}"


def _quantities(explanation: Explanation) -> list[str]:
    """Name the associations given the epoch that stay after correction for all of them."""
    rows = [row for row in explanation.associations.rows if row.p_holm is not None]
    if not rows:
        tried = explanation.associations.rows
        return [f"None of the {len(tried)} associations is tested."] if tried else []
    clear = [row for row in rows if row.p_holm is not None and row.p_holm < 1 - explanation.confidence and row.given_epoch]
    if not clear:
        return [
            f"None of {len(rows)} quantities, each at one level, has an association with {explanation.metric} beyond the epoch "
            "that stays after correction for their number (Holm)."
        ]
    listed = ", ".join(f"{row.label} ({signed(_value(row.given_epoch), 2)})" for row in clear)
    return [
        f"Beyond the epoch, and corrected for {len(rows)} tests (Holm), {explanation.metric} goes with {listed}; an association "
        "says nothing about causes."
    ]


def _drivers(explanation: Explanation) -> list[str]:
    """Say what robustness itself moves with, of the quantities of its level."""
    rows = [row for row in explanation.associations.rows if row.level == explanation.level and row.robustness is not None]
    if not rows or explanation.associations.epochs < FEW_EPOCHS:
        return []
    listed = ", ".join(
        f"{QUANTITIES[row.quantity].label} {signed(_value(row.robustness), 2)}"
        for row in sorted(rows, key=lambda row: -abs(_value(row.robustness)))
    )
    return [f"Given the epoch, robustness (level {explanation.level}) itself has mean rank correlations of: {listed}."]


def _peaks(explanation: Explanation) -> list[str]:
    """Say where the outcome and the robustness of each configuration are highest; of many, only how often they coincide."""
    cases, metric = explanation.cases, explanation.metric
    peaks = [_peaks_of(case) for case in cases]
    if len(cases) > MOST_NAMED:
        same = sum(a == b for a, b in peaks)
        return [f"{metric} and robustness are highest at the same checkpoint in {same} of {len(cases)} configurations."]
    return [
        f"{case.pool.name}: {metric} is highest at {named(a)} ({case.pool.means[a]:.3f}), robustness at {named(b)}, where {metric} "
        f"is {case.pool.means[b]:.3f}."
        if a != b else f"{case.pool.name}: {metric} and robustness are both highest at {named(a)}."
        for case, (a, b) in zip(cases, peaks, strict=True)
    ]  # fmt: skip


def _peaks_of(case: Case) -> tuple[Key, Key]:
    """Return the checkpoints of the highest outcome and of the highest robustness: the same one wherever one has both."""
    best, favoured = _highest(case.pool.means), _highest(case.pool.robustness)
    both = [key for key in best if key in favoured]
    return (both[0], both[0]) if both else (best[0], favoured[0])


def _highest(values: Mapping[Key, float]) -> list[Key]:
    """Return the keys of the highest value, the first one first."""
    highest = max(map(rounded, values.values()))
    return [key for key, value in values.items() if rounded(value) == highest]


def _value(mean: ClusterMean | None) -> float:
    assert mean is not None
    return mean.value
