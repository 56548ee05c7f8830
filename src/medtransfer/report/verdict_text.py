"""Verdict of an analysis in plain sentences, which claim no more than the numbers support."""

from collections import Counter
from collections.abc import Sequence

from medtransfer.analysis.model import Analysis, Contrast, Interval, Judged, Summary
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.summary import factors_of
from medtransfer.metrics.comparison import LEAST_CLUSTERS, LEAST_EFFECTIVE, are_numerous, effective_number
from medtransfer.report import evidence_text
from medtransfer.report.format import capitalised, epochs, number, percent, signed
from medtransfer.selectors.selectors import CONTRASTED, EQUAL_COST, FULL, NONE, RANDOM, SELECTORS
from medtransfer.tasks.contract import shared_label

SUBJECT = SELECTORS["offline"]  # the selector that the verdict is about
MOST_NAMED = 4  # targets
WORDS = {
    "better": "is better than", "worse": "is worse than", "equivalent": "is equivalent to",
    "undecided": "is neither shown better nor worse than", "same": "brings the same in every configuration as",
}  # fmt: skip


def verdict(analysis: Analysis) -> str:
    """Return the verdict as a paragraph; see `sentences`."""
    return " ".join(sentences(analysis))


def sentences(analysis: Analysis) -> list[str]:
    """Return the verdict in one or two sentences.

    It compares the subject's share of the best outcome with that of the last checkpoint, or says why there is no verdict.
    """
    summaries = analysis.by_selector
    if not summaries:
        return [_no_verdict(analysis)]
    if SUBJECT.name not in summaries:
        reason = "no judged configuration has it for every checkpoint (medtransfer score measures it)"
        return [text for text in (f"Robustness cannot be judged: {reason}.", _plain_choices(analysis)) if text]
    if summaries[SUBJECT.name].pools == 1:
        return _one_pool(analysis)
    return _over_several(analysis, summaries[SUBJECT.name])


def _over_several(analysis: Analysis, subject: Summary) -> list[str]:
    pools = analysis.pools_with(SUBJECT.name)
    kept = (
        f"Over {subject.pools} configurations on {_named(sorted({pool.fields['target'] for pool in pools}))}, choosing by "
        f"{SUBJECT.phrase} keeps on average {percent(subject.mean_tis)} of the best checkpoint’s "
        f"{shared_label(pool.metric for pool in pools)}"
        f"{_percent_interval(subject.interval, analysis.confidence)}"
    )
    contrast = analysis.contrast(SUBJECT.name, FULL.name)
    if contrast is None:
        return [f"{kept}."]
    kept += f"; always taking {FULL.phrase} keeps {percent(subject.mean_tis - contrast.difference)}."
    if contrast.is_same:
        return [kept, "Both bring the same in every configuration."]
    return [kept, _judgement(contrast, analysis)]


def _judgement(contrast: Contrast, analysis: Analysis) -> str:
    points = f"the difference is {signed(100 * contrast.difference, 1)} points"
    if contrast.interval is None and contrast.p_value is not None:
        return f"Which is better is undecided: {points}, since wins and losses cancel out exactly."
    if contrast.interval is None:
        return f"Which is better could not have been decided: {points}, but {too_few(contrast, analysis)}."
    low, high = contrast.interval
    points += f" ({100 * analysis.confidence:g} % interval {signed(100 * low, 1)} to {signed(100 * high, 1)})"
    return {
        "better": f"Choosing by robustness is better: {points}.",
        "worse": f"The last checkpoint is better: {points}.",
        "equivalent": f"The two are equivalent: {points}, within ±{100 * analysis.sampling.margin:g} points.",
        "undecided": f"Which is better is undecided: {points}{_detectable(contrast)}.",
    }[contrast.outcome]


def _detectable(contrast: Contrast) -> str:
    """Say in a clause how large a difference such a study would show."""
    if contrast.detectable is None:
        return ""
    return f"; four of five such studies would show one of {100 * contrast.detectable:.1f} points or more"


def _named(targets: Sequence[str]) -> str:
    return _listed(targets) if len(targets) <= MOST_NAMED else counted(len(targets), "target")


def too_few(contrast: Contrast, analysis: Analysis) -> str:
    """Say in a clause that a comparison rests on too few pretrainings and targets for an interval."""
    compared = analysis.pools_with(*(one.name for one in (contrast.first, contrast.second) if one != EQUAL_COST))
    pretrainings, targets = len({pool.weights for pool in compared}), len({pool.fields["target"] for pool in compared})
    who, least = f"{counted(pretrainings, 'pretraining')} and {counted(targets, 'target')}", f"{LEAST_CLUSTERS} of either"
    if max(pretrainings, targets) >= LEAST_CLUSTERS:  # a few hold most configurations
        count = " and ".join(f"{effective_number(levels):.1f}" for levels in factors_of(compared).values())
        who += f", which count as {count} since a few hold most configurations,"
        least += f" that count as {LEAST_EFFECTIVE:g}"
    return f"with {who} no difference can be told from chance; {least} are the least"


def _one_pool(analysis: Analysis) -> list[str]:
    judged = next(judged for judged in analysis.judged if SUBJECT.name in judged.by_selector)
    subject, full = judged.by_selector[SUBJECT.name], judged.by_selector.get(FULL.name)
    text = (
        f"On the only configuration that can tell, choosing by {SUBJECT.phrase} takes epoch {subject.candidate} and keeps "
        f"{percent(subject.tis)} of the best checkpoint’s {judged.pool.metric.label}"
        f"{_percent_interval(subject.interval, analysis.confidence)}"
    )
    if judged.has_seeds:
        text += ", which cannot be distinguished from the best" if subject.within_noise else ", which is below the best"
    text += f"; always taking {FULL.phrase} keeps {percent(full.tis)}" if full else ""
    return [f"{text}.", "One configuration says nothing about others."]


def _plain_choices(analysis: Analysis) -> str:
    summaries = analysis.by_selector
    plain = [summaries[selector.name] for selector in (FULL, RANDOM, NONE) if selector.name in summaries]
    if not plain:
        return ""
    kept = ", ".join(f"{summary.selector.label} {percent(summary.mean_tis)}" for summary in plain)
    count = max(summary.pools for summary in summaries.values())
    over = counted(count, "configuration")
    text = f"Of the best checkpoint’s {analysis.metric_label}, plain choices keep, over {over}: {kept}."
    return f"{text} {_of_one(analysis)}" if count == 1 else text


def _of_one(analysis: Analysis) -> str:
    """Say which plain choices of the only judged configuration may be the best, and what it does not tell."""
    judged = next(judged for judged in analysis.judged if judged.verdicts)
    near = [
        selector.phrase
        for selector in (FULL, NONE) if (found := judged.by_selector.get(selector.name)) and found.within_noise
    ]  # fmt: skip
    may = f"Not distinguished from the best: {_listed(near)}. " if near else ""
    return f"{may}One configuration says nothing about others."


def _no_verdict(analysis: Analysis) -> str:
    if not analysis.judged:
        return "There are no configurations, so there is no verdict."
    reasons = Counter(judged.reason for judged in analysis.judged if judged.reason)
    text = "; ".join(f"{reason} ({count})" if len(reasons) > 1 else reason for reason, count in reasons.most_common(3))
    more = f"; and {counted(len(reasons) - 3, 'other reason')}" if len(reasons) > 3 else ""
    count = len(analysis.judged)
    who = "the only configuration could not be judged" if count == 1 else f"none of the {count} configurations could be judged"
    return f"There is no verdict, since {who}{': ' if text else ''}{text}{more}."


def particulars(analysis: Analysis) -> list[str]:
    """Return further sentences: warnings, comparisons, cost, noise and weaknesses."""
    compared = [_compared(analysis, selector.name) for selector in CONTRASTED if selector.name in analysis.by_selector]
    parts = (*analysis.warnings, *compared, _spent(analysis), _near(analysis), *evidence_text.sentences(analysis),
             *weaknesses(analysis))  # fmt: skip
    return [text for text in parts if text]


def _spent(analysis: Analysis) -> str:
    """Compare the cost of the choices by robustness; empty unless all of them could choose."""
    if any(selector.name not in analysis.by_selector for selector in CONTRASTED):
        return ""
    summaries = [analysis.by_selector[selector.name] for selector in CONTRASTED]
    average = " on average" if max(summary.pools for summary in summaries) > 1 else ""
    return capitalised(
        "; ".join(
            f"{summary.selector.phrase} spends {epochs(summary.mean_epochs)} epochs of pretraining{average} and keeps "
            f"{percent(summary.mean_tis)}"
            for summary in summaries
        )
        + "."
    )


def _compared(analysis: Analysis, first: str) -> str:
    groups: dict[str, list[str]] = {}
    for contrast in analysis.contrasts:
        if contrast.first.name == first and contrast.p_value is not None:
            word = "same" if contrast.is_same else contrast.outcome
            groups.setdefault(word, []).append(_opponent(contrast, analysis.confidence))
    parts = [f"{phrase} {_listed(groups[word])}" for word, phrase in WORDS.items() if word in groups]
    return f"Choosing by {SELECTORS[first].phrase} {'; it '.join(parts)}." if parts else ""


def _opponent(contrast: Contrast, confidence: float) -> str:
    """Name the second selector, with a remark where the difference is not clear after correction for all comparisons."""
    clear = contrast.outcome in {"better", "worse"} and contrast.p_holm is not None
    uncorrected = clear and contrast.p_holm is not None and contrast.p_holm >= round(1 - confidence, 12)
    return f"{contrast.second.phrase}{' (not after correction for all comparisons)' if uncorrected else ''}"


def _near(analysis: Analysis) -> str:
    if sum(bool(judged.verdicts) for judged in analysis.judged) < 2:
        return ""  # part of the verdict
    seeded = [judged for judged in analysis.judged if judged.has_seeds]
    parts = []
    for selector in CONTRASTED:
        near = [judged.by_selector[selector.name].within_noise for judged in seeded if selector.name in judged.by_selector]
        if near:
            parts.append(f"the choice by {selector.phrase} in {sum(map(bool, near))} of {len(near)}")
    return f"Not distinguishable from the best checkpoint: {_listed(parts)} configurations with several seeds." if parts else ""


def weaknesses(analysis: Analysis) -> list[str]:
    """Return the limitations of the verdict, in sentences."""
    judged = [pool for pool in analysis.judged if pool.verdicts]
    texts = []
    if judged and len(judged) < len(analysis.judged):
        texts.append(f"{len(analysis.judged) - len(judged)} of {len(analysis.judged)} configurations could not be judged.")
    if blank := sum(pool.pool.blank for pool in judged):
        texts.append(
            f"{counted(blank, 'fine-tuning')} of {sum(len(pool.pool.fine_tunings) for pool in judged)} "
            f"{'predicts' if blank == 1 else 'predict'} no foreground in any test image: train for more epochs or at another "
            "learning rate, and look at the labels."
        )
    if poor := [pool.pool for pool in judged if pool.pool.is_poor]:
        best, constant = max((max(pool.means.values()), pool.constant) for pool in poor)
        texts.append(
            f"In {len(poor)} of {len(judged)} judged configurations no checkpoint has a higher mean "
            f"{shared_label(pool.metric for pool in poor)} than a mask with the same label in every pixel, such as {best:.3f} "
            f"against {constant:.3f}: train for more epochs or at another learning rate, and look at the labels."
        )
    partial = {pool.pool.loaded for pool in judged if pool.pool.loaded}
    if partial:
        texts.append(f"Some weights were loaded in part only, and the rest is random: {'; '.join(sorted(partial))}.")
    texts.append(_single_seeds(judged, analysis.metric_label))
    lacking = sum(SUBJECT.name not in pool.by_selector for pool in judged)
    if lacking and SUBJECT.name in analysis.by_selector:
        verbs = ("lacks", "says") if lacking == 1 else ("lack", "say")
        texts.append(f"{lacking} of {len(judged)} judged configurations {verbs[0]} robustness and {verbs[1]} nothing about it.")
    undecided = [contrast for contrast in analysis.contrasts if contrast.p_value is None]
    if len(judged) > 1 and undecided:
        few = too_few(max(undecided, key=lambda contrast: contrast.pools), analysis)
        if len(undecided) < len(analysis.contrasts):
            few = f"compared with {_listed(list(dict.fromkeys(one.second.phrase for one in undecided)))}, {few}"
        texts.append(f"{capitalised(few)}.")
    texts.append(_seeds_of_recipes([pool.pool for pool in judged]))
    return [text for text in texts if text]


def _seeds_of_recipes(pools: Sequence[Pool]) -> str:
    """Say where pretrainings that differ in their seed alone are counted each; empty where they are not."""
    pretrainings, recipes = factors_of(pools)["pretraining"], {pool.recipe or pool.weights for pool in pools}
    if len(set(pretrainings)) == len(recipes) or not are_numerous(pretrainings):
        return ""
    return (
        f"The {len(set(pretrainings))} pretrainings are seeds of {counted(len(recipes), 'recipe')}: what is said over pretrainings "
        f"holds for other seeds of {'this recipe' if len(recipes) == 1 else 'these recipes'}, not for other recipes; "
        f"{LEAST_CLUSTERS} recipes are the least for that."
    )


def _single_seeds(judged: Sequence[Judged], metric: str) -> str:
    single = sum(not pool.has_seeds for pool in judged)
    if not single:
        return ""
    which = "Every configuration" if single == len(judged) else f"{single} of {len(judged)} configurations"
    verb = "has" if single in (1, len(judged)) else "have"
    return f"{which} {verb} a single seed: no interval of the {metric}, and no checkpoint can be distinguished from the best."


def cost(analysis: Analysis) -> str:
    """Compare a choice that stops early with fixed lengths of the same cost, by both accounts; empty if none can be compared."""
    parts = []
    for selector in CONTRASTED:
        summary = analysis.by_selector.get(selector.name)
        contrast = analysis.contrast(selector.name, EQUAL_COST.name)
        if summary is None or summary.fixed_at_cost is None or contrast is None:
            continue
        outcome = "the same in all" if contrast.is_same else contrast.outcome
        text = (
            f"{selector.phrase} spends {epochs(summary.mean_epochs)} epochs for a mean TIS of {summary.mean_tis:.3f}, where "
            f"fixed lengths of the same cost bring {summary.fixed_at_cost:.3f} ({outcome})"
        )
        if summary.fixed_at_shared is not None and summary.shared_epochs > summary.mean_epochs:
            text += (
                f"; where one pretraining serves all its targets it must run to the longest stop, {epochs(summary.shared_epochs)} "
                f"epochs on average, at which fixed lengths bring {summary.fixed_at_shared:.3f}"
            )
        parts.append(text)
    return f"At equal cost: {'; '.join(parts)}." if parts else ""


def _percent_interval(interval: Interval | None, confidence: float) -> str:
    if interval is None:
        return ""
    low, high = (number(100 * limit, 1) for limit in interval)
    return f" ({100 * confidence:g} % interval {low} to {high} %)"


def counted(count: int, what: str) -> str:
    """Return a number of things, in the plural unless it is 1."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
