"""An analysis goes in; what it means, in plain sentences that promise no more than the numbers show, comes out."""

from collections import Counter
from collections.abc import Sequence

from medtransfer.analysis.model import Analysis, Contrast, Interval, Judged, Summary
from medtransfer.report.format import epochs, percent, signed
from medtransfer.report.glossary import OPPONENTS, label


def outcome(contrast: Contrast, confidence: float) -> str:
    """Say whether the first is `better`, `worse` or `not told apart` from the second.

    A difference is clear when its corrected p-value is below 1 - confidence and its interval holds no zero.
    """
    low, high = contrast.interval
    if contrast.p_holm >= round(1 - confidence, 12) or low <= 0 <= high:
        return "not told apart"
    return "better" if low > 0 else "worse"


def verdict(analysis: Analysis) -> str:
    """Give the answer in one or two sentences.

    Returns:
        What choosing by robustness keeps of the best Dice, against always taking the last checkpoint; or why there is no answer.
    """
    found = {one.selector: one for one in analysis.summaries}
    if not found:
        return _no_verdict(analysis)
    if "offline" not in found:
        return f"Robustness cannot be judged: no judged configuration has it for every checkpoint. {_without_robustness(found)}"
    if found["offline"].configurations == 1:
        return _one_configuration(analysis)
    return _over_several(analysis, found["offline"])


def _over_several(analysis: Analysis, offline: Summary) -> str:
    kept = (
        f"Over {offline.configurations} configurations, choosing by robustness (offline) keeps on average "
        f"{percent(offline.mean_tis)} of the best checkpoint’s Dice{_percent_interval(offline.interval, analysis.confidence)}"
    )
    contrast = _contrast(analysis, "offline", "full")
    if contrast is None:
        return f"{kept}."
    kept += f"; always taking the last checkpoint keeps {percent(offline.mean_tis - contrast.difference)}. "
    if not contrast.wins and not contrast.losses:
        return f"{kept}Both bring the same in every configuration."
    said = {
        "better": "is clear: robustness chose the better checkpoints",
        "worse": "is clear: the last checkpoint was the better choice", "not told apart": "is within noise",
    }[outcome(contrast, analysis.confidence)]  # fmt: skip
    low, high = contrast.interval
    bounds = f"interval {signed(100 * low, 1)} to {signed(100 * high, 1)}"
    return f"{kept}The difference of {signed(100 * contrast.difference, 1)} points ({bounds}) {said}."


def _one_configuration(analysis: Analysis) -> str:
    judged = next(one for one in analysis.judged if any(v.selector == "offline" for v in one.verdicts))
    by_name = {one.selector: one for one in judged.verdicts}
    offline, full = by_name["offline"], by_name.get("full")
    text = (
        f"On the only configuration that can tell, choosing by robustness (offline) takes epoch {offline.epoch} and keeps "
        f"{percent(offline.tis)} of the best checkpoint’s Dice{_percent_interval(offline.interval, analysis.confidence)}"
    )
    if has_seeds(judged):
        text += ", which is within noise of the best" if offline.within_noise else ", which is clearly below the best"
    text += f"; always taking the last checkpoint keeps {percent(full.tis)}" if full else ""
    return f"{text}. One configuration cannot tell how it would go on others."


def _without_robustness(found: dict[str, Summary]) -> str:
    plain = [f"{label(name)} {percent(found[name].mean_tis)}" for name in ("full", "random", "none") if name in found]
    count = max(one.configurations for one in found.values())
    return f"Of the best checkpoint’s Dice, plain choices keep, over {_counted(count)}: {', '.join(plain)}." if plain else ""


def _no_verdict(analysis: Analysis) -> str:
    if not analysis.judged:
        return "There are no configurations, so there is no verdict."
    reasons = Counter(one.reason for one in analysis.judged if one.reason)
    said = "; ".join(f"{reason} ({count})" if len(reasons) > 1 else reason for reason, count in reasons.most_common(3))
    more = f"; and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
    count = len(analysis.judged)
    who = "the only configuration could not be judged" if count == 1 else f"none of the {count} configurations could be judged"
    return f"There is no verdict, since {who}{': ' if said else ''}{said}{more}."


def particulars(analysis: Analysis) -> list[str]:
    """Give what a careful reader asks next, a sentence each: comparisons, cost, noise, and what weakens the answer."""
    found = {one.selector: one for one in analysis.summaries}
    said = [_compared(analysis, first) for first in ("offline", "online") if first in found]
    if "offline" in found and "online" in found:
        average = "on average " if found["online"].configurations > 1 else ""
        said.append(
            f"The online rule spends {average}{epochs(found['online'].mean_epochs)} epochs of pretraining and keeps "
            f"{percent(found['online'].mean_tis)}; the offline one needs {epochs(found['offline'].mean_epochs)} and keeps "
            f"{percent(found['offline'].mean_tis)}."
        )
    return [one for one in (*analysis.warnings, *said, _near(analysis), *weaknesses(analysis)) if one]


def _compared(analysis: Analysis, first: str) -> str:
    groups: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for contrast in analysis.contrasts:
        if contrast.first == first and contrast.configurations > 1:
            groups[outcome(contrast, analysis.confidence)].append(OPPONENTS.get(contrast.second, contrast.second))
    phrases = {"better": "is clearly better than", "worse": "is clearly worse than", "not told apart": "cannot be told apart from"}
    parts = [f"{phrases[word]} {_listed(names)}" for word, names in groups.items() if names]
    return f"The {first} choice {'; it '.join(parts)}." if parts else ""


def _near(analysis: Analysis) -> str:
    if sum(bool(one.verdicts) for one in analysis.judged) < 2:
        return ""  # the verdict says it
    said = []
    for selector in ("offline", "online"):
        near = [v.within_noise for one in analysis.judged if has_seeds(one) for v in one.verdicts if v.selector == selector]
        if near:
            said.append(f"the {selector} choice in {sum(map(bool, near))} of {len(near)}")
    return f"Within noise of the best checkpoint: {_listed(said)} configurations with several seeds." if said else ""


def has_seeds(judged: Judged) -> bool:
    """Tell whether the Dice of a configuration have intervals, that is, several seeds."""
    return bool(judged.checkpoints) and all(one.dice_interval is not None for one in judged.checkpoints)


def weaknesses(analysis: Analysis) -> list[str]:
    """Say what makes the answer weaker than it could be."""
    judged = [one for one in analysis.judged if one.verdicts]
    single = sum(not has_seeds(one) for one in judged)
    said = []
    if judged and len(judged) < len(analysis.judged):
        said.append(f"{len(analysis.judged) - len(judged)} of {len(analysis.judged)} configurations could not be judged.")
    if single:
        which = "Every configuration" if single == len(judged) else f"{single} of {len(judged)} configurations"
        verb = "has" if single in (1, len(judged)) else "have"
        said.append(f"{which} {verb} a single seed: no interval of the Dice, and no checkpoint can be told apart from the best.")
    lacking = sum(all(v.selector != "offline" for v in one.verdicts) for one in judged)
    if lacking and any(one.selector == "offline" for one in analysis.summaries):
        said.append(f"{lacking} of {len(judged)} judged configurations lack robustness and say nothing about it.")
    said.append(_too_few(analysis.contrasts, analysis.confidence))
    return [one for one in said if one]


def _too_few(contrasts: Sequence[Contrast], confidence: float) -> str:
    """Warn where even a win in every configuration could not be clear: the smallest p of n pairs is 2^(1 - n)."""
    if not contrasts:
        return ""
    most = max(one.configurations for one in contrasts)
    least = min(1.0, len(contrasts) * 2.0 ** (1 - most))
    if most < 2 or least < round(1 - confidence, 12):
        return ""
    return (
        f"With {most} configurations and {len(contrasts)} comparisons no difference can be clear, however large: "
        f"the smallest corrected p possible is {least:.3f}."
    )


def cost(analysis: Analysis) -> str:
    """Say how each choice by robustness compares with fixed lengths that cost the same."""
    said = []
    for one in analysis.summaries:
        if one.selector in ("offline", "online") and one.fixed_at_cost is not None:
            contrast = _contrast(analysis, one.selector, "fixed at equal cost")
            word = f" ({outcome(contrast, analysis.confidence)})" if contrast and contrast.configurations > 1 else ""
            said.append(
                f"{one.selector} spends {epochs(one.mean_epochs)} epochs for a mean TIS of {one.mean_tis:.3f}, where fixed lengths "
                f"of the same cost bring {one.fixed_at_cost:.3f}{word}"
            )
    return f"At equal cost: {'; '.join(said)}." if said else ""


def _contrast(analysis: Analysis, first: str, second: str) -> Contrast | None:
    return next((one for one in analysis.contrasts if (one.first, one.second) == (first, second)), None)


def _percent_interval(interval: Interval | None, confidence: float) -> str:
    if interval is None:
        return ""
    return f" ({100 * confidence:g} % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"


def _counted(count: int) -> str:
    return "1 configuration" if count == 1 else f"{count} configurations"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
