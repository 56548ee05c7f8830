"""Result of a search as Markdown."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.metrics.comparison import LEAST_CLUSTERS, ClusterMean, Interval, mean_tis_interval
from medtransfer.records.tables import as_markdown
from medtransfer.search.evaluate import OBJECTIVE
from medtransfer.search.held_out import ANY, JOINT, PLAIN, Best, Family, Searched, Totals
from medtransfer.search.settings import columns
from medtransfer.selectors.score_names import score_label
from medtransfer.tasks.contract import lowest_tis, shared_label

Row = dict[str, Any]

LEAST_SHOWN = 0.0005  # smaller differences are 0.000 to three decimals


def write_up(
    searched: Sequence[Searched], default: RobustnessSetting, notes: Sequence[str], confidence: float, margin: float
) -> str:
    """Format the whole result as Markdown.

    Args:
        searched: the indicators, the first of which is described in full.
        default: robustness setting of the params.
        notes: sentences on what was left out and other remarks.
        confidence: coverage of the intervals.
        margin: differences of TIS up to this are equivalent.
    """
    first = searched[0]
    families = first.families
    parts = [f"# Which setting of {score_label(first.name)} chooses best"]
    parts += _verdict(families, first.totals, default, confidence, margin)
    parts += ["## The best setting over all targets, and without each", as_markdown(_study_rows(families))]
    if held_out := _held_out_rows(families):
        parts += ["## Each target, judged at the setting that was chosen without it", as_markdown(held_out)]
    if len(searched) > 1:
        rows = [_indicator_row(one, confidence, margin) for one in searched]
        parts += ["## Every indicator", _caution(searched), as_markdown(rows)]
    parts += ["## What else to know", "\n".join(f"- {note}" for note in notes)] if notes else []
    return "\n\n".join(parts) + "\n"


def _caution(searched: Sequence[Searched]) -> str:
    count = sum(one.name not in JOINT for one in searched)
    text = (
        f"The best of these {count} indicators was not known beforehand, so the highest value of the table flatters, held out or "
        "not"
    )
    if searched[0].totals.held_out is None:
        return f"{text}."
    return (
        f"{text}; the rows *{_name(PLAIN)}* and *{_name(ANY)}* do not: there the indicator, too, is chosen without the target that "
        "it is judged on."
    )


def _name(indicator: str) -> str:
    return {ANY: "any, at any setting", PLAIN: "any, at its default setting"}.get(indicator) or score_label(indicator)


def _indicator_row(searched: Searched, confidence: float, margin: float) -> Row:
    totals, families = searched.totals, searched.families
    held_out = totals.held_out.chosen if totals.held_out else {}
    bounds = _tis_interval(families)(totals.mean_held_out, confidence) if totals.mean_held_out else None
    gain = totals.gain
    return {
        "indicator": _name(searched.name), "settings": sum(family.best.trials for family in families),
        "best setting": "; ".join(str(family.best.setting) for family in families),
        "TIS in-sample": totals.in_sample.chosen[OBJECTIVE], "TIS held out": held_out.get(OBJECTIVE),
        f"{100 * confidence:g} % interval": f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else None,
        "TIS online, held out": held_out.get("first-drop"),
        "against default robustness": _against_default(gain, confidence, margin) if gain else None,
    }  # fmt: skip


def _against_default(gain: ClusterMean, confidence: float, margin: float) -> str:
    return "the same in all" if gain.is_nil else f"{gain.value:+z.3f}, {gain.outcome(confidence, margin)}"


def _verdict(families: Sequence[Family], totals: Totals, default: RobustnessSetting, confidence: float, margin: float) -> list[str]:
    seen = totals.in_sample
    winners = [
        f"{f'for {family.encoder} ' if family.encoder else ''}**{family.best.setting}**{_tie(family.best)}" for family in families
    ]
    metric = shared_label(case.metric for family in families for case in family.table.cases)
    in_sample = (
        f"Over {_count(totals.configurations, 'configuration')}, the best setting is {'; '.join(winners)}. Choosing offline by it "
        f"brings a mean TIS ({metric} of the chosen checkpoint over that of the best one) of {seen.chosen[OBJECTIVE]:.3f} on the "
        "very results that it was chosen on."
    )
    known = "" if seen.default is None else f"the default setting ({default}) brings {seen.default:.3f}, "
    none = "" if seen.none is None else f", no pretraining {seen.none:.3f}"
    baselines = f"On the same configurations, {known}the last checkpoint {seen.full:.3f}{none}."
    return [in_sample, _held_out(families, totals, default, confidence, margin), baselines]


def _tie(best: Best) -> str:
    return f" ({_count(best.tied, 'other setting')} did equally well; the nearest to the default wins)" if best.tied else ""


def _held_out(families: Sequence[Family], totals: Totals, default: RobustnessSetting, confidence: float, margin: float) -> str:
    if totals.held_out is None or totals.optimism is None:
        single = [
            f"{family.encoder}: {family.table.cases[0].target}" if family.encoder else family.table.cases[0].target
            for family in families if not family.held_out
        ]  # fmt: skip
        return (
            f"With one target only ({'; '.join(single)}) nothing can be held out, so this value is in-sample and says nothing "
            "about other targets."
        )
    value = totals.held_out.chosen[OBJECTIVE]
    flattery = f"{abs(totals.optimism):.3f} {'too high' if totals.optimism > 0 else 'lower'}"
    if abs(totals.optimism) < LEAST_SHOWN:
        flattery = "the same"
    text = (
        f"Judged on each target at the setting that was chosen without it, the TIS is **{value:.3f}**"
        f"{_interval(totals.mean_held_out, _tis_interval(families), confidence)}; the in-sample value is {flattery}."
    )
    if totals.gain is None:
        return text
    gain, outcome = totals.gain.value, totals.gain.outcome(confidence, margin)
    changes = f"{'gains' if gain > 0 else 'loses'} {abs(gain):.3f} against"
    if abs(gain) < LEAST_SHOWN:  # so small a change may be clear
        changes = f"does {outcome} than" if outcome in ("better", "worse") else "does as well as"
    evidence = f"{_interval(totals.gain, ClusterMean.interval, confidence)}: {outcome}"
    if totals.gain.is_nil:
        evidence = " in every configuration"
    text += f" On targets that it has not seen, the search {changes} the default setting{evidence}."
    if any(family.best.setting == default for family in families):
        text += " But the default setting is the best of all on these results: if it was once chosen on them, it has seen them."
    return text


def _tis_interval(families: Sequence[Family]) -> Callable[[ClusterMean, float], Interval | None]:
    lowest = lowest_tis(case.metric for family in families for case in family.table.cases)
    worst = min(min(case.tis.values()) for family in families for case in family.table.cases)
    return partial(mean_tis_interval, lowest=lowest, worst=worst)


def _interval(mean: ClusterMean | None, compute: Callable[[ClusterMean, float], Interval | None], confidence: float) -> str:
    bounds = compute(mean, confidence) if mean else None
    if mean is None or bounds is None:
        return f" (no interval: fewer than {LEAST_CLUSTERS} pretrainings and targets)"
    over = f"{mean.clusters} {' and '.join(f'{name}s' for name in mean.factors)}"
    return f" ({100 * confidence:g} % interval {bounds[0]:.3f} to {bounds[1]:.3f}, over {over})"


def _study_rows(families: Sequence[Family]) -> list[Row]:
    bests = [best for family in families for best in (family.best, *(target.best for target in family.held_out))]
    return [
        {
            "study": best.study, "settings": best.trials, **_shown(best), "TIS in-sample": best.value,
            "other settings as good": best.tied,
        }
        for best in bests
    ]  # fmt: skip


def _shown(best: Best) -> Row:
    """Return the columns of a setting that its indicator has."""
    return {name: value for name, value in columns(best.setting).items() if name != "indicator" and value is not None}


def _held_out_rows(families: Sequence[Family]) -> list[Row]:
    return [
        {
            "target": f"{held_out.target} ({family.encoder})" if family.encoder else held_out.target,
            "configurations": len(held_out.cases), **_shown(held_out.best), "TIS": held_out.scores.chosen[OBJECTIVE],
            "TIS online": held_out.scores.chosen["first-drop"], "default setting": held_out.scores.default,
            "last checkpoint": held_out.scores.full, "no pretraining": held_out.scores.none,
        }
        for family in families for held_out in family.held_out
    ]  # fmt: skip


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
