"""Stopping rules on the released results: table, sentences and pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from medtransfer.analysis.model import Analysis, Summary
from medtransfer.analysis.none_is_best import DECIDING, GuardResult
from medtransfer.analysis.stopping_rules import RuleResult
from medtransfer.metrics.comparison import ClusterMean, Outcome
from medtransfer.records import atomic_path
from medtransfer.report.format import between, epochs, percent, signed
from medtransfer.report.plots.cost import cost_front, draw_front, fixed_and_picks
from medtransfer.report.verdict_text import counted
from medtransfer.selectors.rules import RULES
from medtransfer.selectors.selectors import FULL

ASSUMED_ERROR = 0.005  # of a released robustness, whose error is unknown
ACCOUNTS = {
    "stopping-own": "each use with a pretraining of its own",
    "stopping-shared": "one pretraining for all its uses, run to the longest stop",
}
EXPLAINED = (
    "Parameters are chosen where they gain most over lengths decided beforehand of equal cost, on the other datasets or on the "
    "other encoders. The released files have no errors of robustness: least-rise assumes one of "
    f"{ASSUMED_ERROR:g} for each value, so that it stops where a rise is at most z × {ASSUMED_ERROR * 2**0.5:.4f}. Every rule but "
    "first-drop keeps the checkpoint of the stop. Of rules with the same TIS and cost the pictures show the first. Intervals of "
    "differences are over pretrainings, the cost taken as it is."
)
Row = dict[str, Any]


def rule_rows(results: Sequence[RuleResult], analysis: Analysis) -> list[Row]:
    """Return the rows of stopping_rules.csv."""
    return [
        {
            "rule": result.summary.selector.name, "mean_tis": result.summary.mean_tis, "ci_low": _low(result.summary.interval),
            "ci_high": _high(result.summary.interval), "min_tis": result.summary.min_tis,
            **_account(result.summary.mean_epochs, result.summary.fixed_at_cost, result.gain, analysis, ""),
            **_account(result.summary.shared_epochs, result.summary.fixed_at_shared, result.gain_shared, analysis, "_shared"),
            "chosen": ", ".join(f"{level}: {rule}" for level, rule in result.chosen.items()),
        }
        for result in results
    ]  # fmt: skip


def _account(cost: float, fixed: float | None, gain: ClusterMean, analysis: Analysis, suffix: str) -> Row:
    interval = gain.difference_interval(analysis.confidence)
    row = {
        "epochs": cost, "fixed": fixed, "difference": gain.value, "difference_low": _low(interval),
        "difference_high": _high(interval), "outcome": _outcome(gain, analysis),
    }  # fmt: skip
    return {f"{name}{suffix}": value for name, value in row.items()}


def _low(interval: tuple[float, float] | None) -> float | None:
    return interval[0] if interval else None


def _high(interval: tuple[float, float] | None) -> float | None:
    return interval[1] if interval else None


def _outcome(gain: ClusterMean, analysis: Analysis) -> Outcome:
    return gain.outcome(analysis.confidence, analysis.sampling.margin)


def table(results: Sequence[RuleResult], analysis: Analysis) -> list[Row]:
    """Return the rows of the page."""
    return [
        {
            "rule": result.summary.selector.name, "mean TIS": result.summary.mean_tis,
            "interval": between(result.summary.interval), "worst TIS": result.summary.min_tis,
            "epochs": result.summary.mean_epochs, "against fixed": result.gain.value,
            "its interval": between(result.gain.difference_interval(analysis.confidence)),
            "outcome": _outcome(result.gain, analysis),
            "epochs shared": result.summary.shared_epochs, "against fixed, shared": result.gain_shared.value,
            "interval, shared": between(result.gain_shared.difference_interval(analysis.confidence)),
            "outcome, shared": _outcome(result.gain_shared, analysis),
        }
        for result in results
    ]  # fmt: skip


def sentences(results: Sequence[RuleResult], guard: GuardResult | None, analysis: Analysis) -> list[str]:
    """Say what the rules bring against lengths decided beforehand, and when to stop early all the same."""
    if not results:
        return []
    own = Counter(_outcome(result.gain, analysis) for result in results)
    shared = Counter(_outcome(result.gain_shared, analysis) for result in results)
    none = not own["better"] and not shared["better"]
    head = "No rule for stopping is shown better than lengths decided beforehand that cost as much" if none else (
        "Some rules for stopping are better than lengths decided beforehand that cost as much"
    )  # fmt: skip
    text = (
        f"{head}: of {len(results)} rules and parameters, {_counts(own)} where each use has a pretraining of its own, "
        f"{_counts(shared)} where one pretraining serves all its uses and runs to the longest stop."
    )
    return [text, *_worth(results, analysis.by_selector.get(FULL.name)), *_guarded(guard, analysis.confidence)]


def _counts(outcomes: Counter[Outcome]) -> str:
    order: tuple[Outcome, ...] = ("better", "worse", "equivalent", "undecided")
    return ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in order if outcomes[outcome])


def _worth(results: Sequence[RuleResult], last: Summary | None) -> list[str]:
    """Say what the cheapest of the rules without a parameter saves."""
    kept = next((result.summary for result in results if result.family == "keep-stop"), None)
    if kept is None or last is None or kept.fixed_at_cost is None:
        return []
    return [
        "An early stop is worth having where pretraining is costly, a single target matters and no good length is known: "
        f"keep-stop keeps {percent(kept.mean_tis)} of the best Dice at {epochs(kept.mean_epochs)} of {epochs(last.mean_epochs)} "
        f"epochs, the last checkpoint {percent(last.mean_tis)}. Where a good length is known no rule is needed: "
        f"{epochs(kept.mean_epochs)} epochs decided beforehand keep {percent(kept.fixed_at_cost)}. That keeping the stop avoids "
        f"the losses of the paper’s rule was found after the fact, on these same data of {counted(kept.clusters, 'pretraining')}."
    ]


def _guarded(guard: GuardResult | None, confidence: float) -> list[str]:
    if guard is None:
        return []
    bounds = guard.gain.difference_interval(confidence)
    interval = f" ({signed(bounds[0], 4)} to {signed(bounds[1], 4)})" if bounds else ""
    return [
        f"No pretraining has a higher mean Dice than the choice of {guard.rule} in {guard.ahead} of {guard.pools} configurations. "
        f"A guard that fine-tunes from both with {DECIDING} seeds, here in full, and prefers no pretraining where it is clearly "
        f"better, changes the mean TIS by {signed(guard.gain.value, 4)}{interval}, judged on the other seeds."
    ]


def pictures(results: Sequence[RuleResult], analysis: Analysis, width: float, height: float) -> list[Markup]:
    """Draw the front of either account of cost for the page; none without rules."""
    if not results:
        return []
    return [cost_front(shown, width, height) for shown in _shown(results, analysis).values()]


def draw(results: Sequence[RuleResult], analysis: Analysis, folder: Path) -> list[str]:
    """Draw the same pictures as PNG and return their names."""
    names = []
    for name, shown in _shown(results, analysis).items() if results else ():
        figure = Figure(figsize=(800 / 72, 400 / 72))
        draw_front(figure, *fixed_and_picks(shown))
        with atomic_path(folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=130, format="png")
        names.append(f"{name}.png")
    return names


def _shown(results: Sequence[RuleResult], analysis: Analysis) -> dict[str, list[Summary]]:
    """Return what is drawn, by account: the fixed lengths, and the rules without a parameter or with one chosen elsewhere.

    Of rules with the same TIS and cost the first is drawn.
    """
    fixed = [summary for summary in analysis.summaries if summary.selector.length is not None]
    distinct: dict[tuple[float, ...], Summary] = {}
    for summary in (result.summary for result in results if result.chosen or RULES[result.family].parameter is None):
        distinct.setdefault((summary.mean_tis, summary.mean_epochs, summary.shared_epochs), summary)
    rules = list(distinct.values())
    shared = [replace(summary, mean_epochs=summary.shared_epochs) for summary in rules]
    return dict(zip(ACCOUNTS, ([*fixed, *rules], [*fixed, *shared]), strict=True))
