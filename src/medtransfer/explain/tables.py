"""Rows of the tables: one per configuration, checkpoint and level; per association; per step."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from medtransfer.analysis.pool import fields_of
from medtransfer.explain.association import Association
from medtransfer.explain.cases import Case
from medtransfer.explain.explanation import Explanation
from medtransfer.explain.quantities import QUANTITIES, ROBUSTNESS
from medtransfer.explain.steps import Step
from medtransfer.metrics.comparison import ClusterMean, correlation_interval
from medtransfer.report.format import Interval, probability, signed

Row = dict[str, Any]


def checkpoint_rows(explanation: Explanation) -> list[Row]:
    """Return one row per configuration, checkpoint and level."""
    names = [
        name for name in QUANTITIES if any((name, level) in case.values for case in explanation.cases for level in case.levels)
    ]
    shared = fields_of([case.pool for case in explanation.cases])
    return [
        {
            **fields, "configuration": case.pool.name, "epoch": epoch, "level": level,
            "channels": case.channels.get(level), **_outcome(case, epoch),
            **{name: case.values.get((name, level), {}).get(epoch) for name in names},
        }
        for case, fields in zip(explanation.cases, shared, strict=True)
        for epoch in map(int, case.pool.means) for level in case.levels
    ]  # fmt: skip


def _outcome(case: Case, epoch: int) -> Row:
    mean = case.pool.seed_means[epoch]
    return {"dice_mean": mean.mean, "dice_std": None if mean.std != mean.std else mean.std, "seeds": mean.n}


def association_rows(explanation: Explanation) -> list[Row]:
    """Return one row per quantity and level; the first is that of the epoch."""
    epoch, confidence = explanation.associations.epoch, explanation.confidence
    head = [_association("epoch", epoch, None, confidence)] if epoch else []
    return head + [_association(row.quantity, row.outcome, row, confidence) for row in explanation.associations.rows]


def _association(quantity: str, outcome: ClusterMean, row: Association | None, confidence: float) -> Row:
    means = {
        "outcome": outcome, "given_epoch": row.given_epoch if row else None, "epoch_removed": row.epoch_removed if row else None,
        "robustness_given_epoch": row.robustness if row else None,
    }  # fmt: skip
    numbers = {key: value for name, mean in means.items() for key, value in _with_bounds(name, mean, confidence).items()}
    return {
        "quantity": quantity, "level": row and row.level, "configurations": row and row.configurations,
        "clusters": outcome.clusters, **numbers, "follows_epoch": row and row.follows_epoch, "p": row and row.p_value,
        "p_holm": row and row.p_holm,
    }  # fmt: skip


def _with_bounds(name: str, mean: ClusterMean | None, confidence: float) -> Row:
    return {name: mean and mean.value, **_ends(name, correlation_interval(mean, confidence) if mean else None)}


def shown_associations(explanation: Explanation) -> list[Row]:
    """Return the rows of the table that people read."""
    associations, confidence = explanation.associations, explanation.confidence
    head = [_shown("epoch", associations.epoch, None, explanation.metric, confidence)] if associations.epoch else []
    return head + [
        _shown(QUANTITIES[row.quantity].label, row.outcome, row, explanation.metric, confidence) for row in associations.rows
    ]


def _shown(label: str, outcome: ClusterMean, row: Association | None, metric: str, confidence: float) -> Row:
    return {
        "quantity": label, "level": str(row.level) if row else "", f"with {metric}": _mean(outcome, confidence),
        "given the epoch": _mean(row.given_epoch if row else None, confidence),
        "mean course removed": _mean(row.epoch_removed if row else None, confidence),
        "p Holm": probability(row.p_holm if row else None),
        "with robustness, given the epoch": _mean(row.robustness if row else None, confidence),
        "configurations": str(row.configurations) if row else "", "in the epochs’ order": str(row.follows_epoch) if row else "",
    }  # fmt: skip


def _mean(mean: ClusterMean | None, confidence: float) -> str:
    if mean is None:
        return "–"
    interval = correlation_interval(mean, confidence)
    return signed(mean.value, 2) + ("" if interval is None else f" ({_between(interval)})")


def _between(interval: Interval) -> str:
    return f"{signed(interval[0], 2)} to {signed(interval[1], 2)}"


def step_rows(explanation: Explanation) -> list[Row]:
    """Return one row per step between neighbouring checkpoints and level."""
    return [
        {
            "configuration": step.configuration, "level": step.level, "start": step.start, "end": step.end, "dice": step.outcome,
            **_ends("dice", step.outcome_interval), "dice_p_holm": step.outcome_p, ROBUSTNESS: step.robustness,
            **_ends(ROBUSTNESS, step.robustness_interval), f"{ROBUSTNESS}_p_holm": step.robustness_p,
            "same_direction": step.same_direction, "relation": step.relation,
        }
        for step in explanation.steps
    ]  # fmt: skip


def _ends(name: str, interval: Interval | None) -> Row:
    return {f"{name}_low": interval and interval[0], f"{name}_high": interval and interval[1]}


def shown_steps(explanation: Explanation) -> list[Row]:
    """Return the steps at the default level for people."""
    return [
        {
            "configuration": step.configuration, "from": step.start, "to": step.end, explanation.metric: signed(step.outcome),
            "interval": _three(step.outcome_interval), "robustness": signed(step.robustness),
            "its interval": _three(step.robustness_interval), "relation": step.relation,
        }
        for step in explanation.steps_at(explanation.level)
    ]  # fmt: skip


def _three(interval: Interval | None) -> str:
    return "–" if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"


def relations_by_step(explanation: Explanation) -> list[Row]:
    """Return one row per pair of neighbouring checkpoints: how often robustness of the default level and the outcome agree."""
    steps = explanation.steps_at(explanation.level)
    pairs = sorted({(step.start, step.end) for step in steps})
    return [
        {"from epoch": str(start), "to": str(end), **_relations([step for step in steps if (step.start, step.end) == (start, end)])}
        for start, end in pairs
    ]  # fmt: skip


def relations_by_level(explanation: Explanation) -> list[Row]:
    """Return one row per level: how often its robustness and the outcome agree, over all steps."""
    levels = sorted({step.level for step in explanation.steps}, reverse=True)
    return [{"level": str(level), **_relations(explanation.steps_at(level))} for level in levels]


def _relations(steps: Sequence[Step]) -> Row:
    count = Counter(step.relation for step in steps)
    return {
        "steps": len(steps), "in the same direction": sum(step.same_direction for step in steps), "agree": count["agree"],
        "part": count["part"], "undecided": count["undecided"],
    }  # fmt: skip
