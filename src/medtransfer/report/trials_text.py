"""What choosing by fine-tuning candidates first would have brought, in sentences."""

from medtransfer.analysis.model import Analysis, Summary
from medtransfer.metrics.comparison import Interval
from medtransfer.report.format import epochs, percent, signed
from medtransfer.selectors.selectors import FULL, SELECTORS

FIRST = SELECTORS["one-each"]
RACE = SELECTORS["race"]


def sentences(analysis: Analysis) -> list[str]:
    """Return sentences on the selectors with a trial: what they keep, what they see, and which lack seeds."""
    tried = {
        selector: summary for name, summary in analysis.by_selector.items() if (selector := SELECTORS.get(name)) and selector.trial
    }
    texts = []
    if FIRST in tried:
        texts.append(_once(tried[FIRST], analysis))
        others = [summary for selector, summary in tried.items() if selector != FIRST]
        texts += [_others(others, tried[FIRST].pools, analysis)] if others else []
        texts.append(_seen(analysis))
    return [*texts, *_lacking(analysis)]


def _once(summary: Summary, analysis: Analysis) -> str:
    number = epochs(summary.mean_fine_tunings)
    several = len({len(pool.candidates) for pool in analysis.pools_with(FIRST.name)}) > 1
    each = f"each checkpoint (on average {number})" if several else f"each of the {number} checkpoints"
    text = (
        f"Fine-tuning {each} once and taking the best keeps {percent(summary.mean_tis)} of the best {analysis.metric_label}, "
        "judged on the other seeds"
    )
    against = analysis.evidence.trials.get(FIRST.name)
    if against is None:
        return f"{text}."
    if against.is_nil:
        return f"{text}; {FULL.phrase} brings the same in every configuration."
    outcome = against.outcome(analysis.confidence, analysis.sampling.margin)
    difference = with_interval(against.value, against.interval(analysis.confidence))
    return f"{text}; against {FULL.phrase} the difference in TIS is {difference}: {outcome}."


def _others(others: list[Summary], pools: int, analysis: Analysis) -> str:
    parts = [
        f"{s.selector.phrase} ({epochs(s.mean_fine_tunings)} in all{_where(s, pools, analysis)}) {percent(s.mean_tis)}"
        for s in others
    ]
    text = f"Other ways to choose by fine-tuning keep: {', '.join(parts)}."
    if any(summary.selector == RACE for summary in others):
        text += " The race has a further seed in each rung, always of full length; what shorter schedules would miss is not judged."
    return text


def _where(summary: Summary, pools: int, analysis: Analysis) -> str:
    """Say in how many of the configurations a trial is judged, and what the others lack."""
    if summary.pools == pools:
        return ""
    trial, name = summary.selector.trial, summary.selector.name
    others = [judged.pool for judged in analysis.judged if FIRST.name in judged.by_selector and name not in judged.by_selector]
    seeds = [trial is None or trial.lacks_seeds(len(pool.candidates), len(pool.common_seeds)) for pool in others]
    few = "seeds" if all(seeds) else "seeds or checkpoints" if any(seeds) else "checkpoints"
    return f", in {summary.pools} of {pools} configurations, since others have too few {few}"


def _seen(analysis: Analysis) -> str:
    pools = [judged.pool for judged in analysis.judged if FIRST.name in judged.by_selector]
    validated = sum(bool(pool.validation) for pool in pools)
    if validated == len(pools):
        return "These choices are made on validation images."
    where = "" if not validated else f" in {len(pools) - validated} of {len(pools)} configurations"
    return (
        f"These choices are made{where} on the test images, by other fine-tunings than those that judge them: without validation "
        "images, what the test patients have in common counts for the choice."
    )


def _lacking(analysis: Analysis) -> list[str]:
    pools = [judged.pool for judged in analysis.judged if judged.verdicts]
    names = [
        selector.label for name, selector in SELECTORS.items()
        if selector.trial and name not in analysis.by_selector
        and any(selector.trial.lacks_seeds(len(pool.candidates), len(pool.common_seeds)) for pool in pools)
    ]  # fmt: skip
    if not names:
        return []
    return [f"Not judged, since a choice needs one more seed than it is made on: {', '.join(names)}."]


def with_interval(value: float, bounds: Interval | None) -> str:
    """Format a difference or a correlation with its interval, if it has one."""
    text = signed(value)
    return f"{text} ({signed(bounds[0])} to {signed(bounds[1])})" if bounds else text
