"""Verdict of a ranking in plain sentences, which claim no more than the numbers support."""

import numpy as np

from medtransfer.rank.imports import IMPORTS, how_to_import, timm_steps
from medtransfer.rank.ranking import Ranking
from medtransfer.report.format import listed, number, share
from medtransfer.selectors.score_names import score_label
from medtransfer.wording import counted

ROBUSTNESS = "robustness"
LEAST_RANKED = 4  # candidates whose order says anything
LEAST_BLOCKS = 3  # parts of the patients without which there are no intervals


def verdict(ranking: Ranking) -> list[str]:
    """Return the verdict, one sentence or two per line: the set, what it rests on, and what to do next."""
    return [_headline(ranking), *_left_out(ranking), *_random(ranking), *warnings(ranking), _next(ranking), *_imports(ranking)]


def _left_out(ranking: Ranking) -> list[str]:
    """Name the candidates that could not be measured, whose reasons are at the end, and those without the value that ranks."""
    lines = []
    if names := list(ranking.left_out):
        lines.append(f"{counted(len(names), 'candidate')} could not be measured: {listed(names)}.")
    if ranking.decides and (names := [ranking.candidates[index].name for index in _undefined(ranking)]):
        verb = "has no value by it and is" if len(names) == 1 else "have no value by it and are"
        lines.append(f"{listed(names)} {verb} not compared.")
    return lines


def _undefined(ranking: Ranking) -> list[int]:
    """Return the candidates for which the verdict's indicator is not defined, or was measured on broken embeddings."""
    return np.flatnonzero(~np.isfinite(ranking.values(str(ranking.by)))).tolist()


def warnings(ranking: Ranking) -> list[str]:
    """Return what the evidence says against indicators that were measured."""
    lines = []
    if ROBUSTNESS in ranking.indicators and ranking.architectures > 1:
        lines.append(
            "Robustness must not rank architectures: in the released results of arXiv:2410.18677 (3 encoders, 2 schemes, 9 "
            "epochs, 6 cells) choosing among all of them by it kept 0.949 of the best Dice, a random last checkpoint 0.980; "
            "Kendall with Dice −0.09."
        )
    if apart := [name for name in ranking.indicators if not ranking.is_comparable(name)]:
        lines.append(f"{listed([score_label(name) for name in apart])}: ranked only among levels of the same number of channels.")
    lines += _grids(ranking)
    if line := _agreement(ranking):
        lines.append(line)
    return lines


def _headline(ranking: Ranking) -> str:
    count, where = len(ranking.candidates), _where(ranking)
    if ranking.by is None:
        return (
            f"Without masks nothing measured here is known to rank encoders: {_all(count)}. The columns below describe "
            f"{'it' if count == 1 else 'them'} on {where}."
        )
    label, names = score_label(ranking.by), [ranking.candidates[index].name for index in ranking.kept]
    if not ranking.decides:
        classes = "images of 2 classes" if ranking.labelled else "2 classes on the grid"
        return f"{label} is not defined on {where}: it needs {classes} and 2 patients; {_all(count)}."
    standing = ranking.standings[ranking.by]
    compared = count - len(_undefined(ranking))
    if not np.isfinite(standing.low).any():
        remain = _all(count) if compared == count else f"{compared} of {count} candidates remain"
        return f"By {label} nothing can be distinguished on {where}, since {_why_no_intervals(ranking)}: {remain}."
    if compared == 1:
        measured = "Only one candidate could be measured" if ranking.left_out else "There is one candidate"
        alone = measured if count == 1 else "Only one candidate has a value"
        return f"{alone}, {names[0]}: {label} {ranking.values(ranking.by)[ranking.kept[0]]:.3f} on {where}."
    if len(names) == 1:
        others = "the other one" if compared == 2 else f"each of the {compared - 1} others"
        return f"By {label} on {where}, {names[0]} scores above {others}."
    if len(names) == compared:
        return f"By {label} on {where}, each of the {compared} candidates may be the best: {listed(names)}."
    return (
        f"By {label} on {where}, with {share(ranking.confidence)} confidence the best is among {len(names)} of {compared} "
        f"candidates: {listed(names)}."
    )


def _all(count: int) -> str:
    return "the candidate remains" if count == 1 else f"all {count} candidates remain"


def _where(ranking: Ranking) -> str:
    """Say how many images of how many patients were measured; without a rule for patients every image is one."""
    first = ranking.candidates[0]
    if first.groups == first.images:
        return f"{first.images} images of {ranking.target}, each taken as a patient of its own"
    return f"{first.images} images of {first.groups} patients of {ranking.target}"


def _why_no_intervals(ranking: Ranking) -> str:
    groups = ranking.candidates[0].groups
    if groups < LEAST_BLOCKS:
        return f"intervals need {LEAST_BLOCKS} patients"
    if all(not row.replicates for row in ranking.rows[ranking.indicators[0]]):
        return f"rank.blocks is below {LEAST_BLOCKS}"
    return "without some patients it is not defined"


def _all_random(ranking: Ranking) -> bool:
    return all(map(ranking.is_random, range(len(ranking.candidates))))


def _random(ranking: Ranking) -> list[str]:
    """Say whether random weights are among the best, which means that nothing learned shows."""
    if _all_random(ranking):
        return ["No pretrained candidate was measured, so nothing is said about whether pretraining helps."]
    if not ranking.decides or not (among := [index for index in ranking.kept if ranking.is_random(index)]):
        return []
    names = listed([ranking.candidates[index].name for index in among])
    if len(ranking.kept) == 1:
        return [f"{names} has random weights: on these images the indicator does not show that pretraining helps."]
    verb = "is" if len(among) == 1 else "are"
    return [f"{names} {verb} among them: on these images the indicator does not show that pretraining helps."]


def _grids(ranking: Ranking) -> list[str]:
    """Say where candidates had the masks on different grids, or lost classes on theirs."""
    if ranking.by is None or ranking.labelled:
        return []
    lines = []
    strides = sorted({candidate.stride for candidate in ranking.candidates})
    if len(strides) > 1:
        lines.append(
            f"The ranked levels have strides of {listed(list(map(str, strides)))} pixels, so that the masks lie on different "
            "grids: values by masks are not of one task. Set --stride to one that all encoders have."
        )
    lossy = [c.name for c, row in zip(ranking.candidates, ranking.rows[ranking.by], strict=True)
             if row.flags.keys() & {"empty_classes", "vanishing_classes"}]  # fmt: skip
    if lossy:
        prepared = f", for which {ranking.target} is to be prepared at a larger --size" if ranking.prepared else ""
        lines.append(
            f"Classes lose most of their pixels on the grid of {listed(lossy)}: what is measured there is not the task. Rank "
            f"again with a smaller --stride or larger images{prepared}."
        )
    return lines


def _agreement(ranking: Ranking) -> str:
    taus = [tau for tau, _ in ranking.agreements.values() if np.isfinite(tau)]
    if not taus or len(ranking.candidates) < LEAST_RANKED:
        return ""
    return (
        f"Between two indicators Kendall’s tau is {number(float(np.mean(taus)), 2)} on average, {number(min(taus), 2)} to "
        f"{number(max(taus), 2)}; between unrelated rankings of {len(ranking.candidates)} candidates it varies with standard "
        f"deviation {ranking.null_spread:.2f}."
    )


def _next(ranking: Ranking) -> str:
    if _all_random(ranking):
        them = "it" if len(ranking.candidates) == 1 else "them"
        return f"Next: rank pretrained candidates beside {them}."
    if not ranking.decides:
        last = "take the last checkpoint of each pretraining, or " if ranking.baselines["last checkpoint"] else ""
        if ranking.labelled:
            return f"Next: {last}label images of at least 6 patients and rank again."
        return f"Next: {last}draw masks for some images of at least 6 patients and rank again with --masks."
    fine_tuned = [index for index in ranking.kept if not ranking.is_random(index)]
    if not fine_tuned:
        return "Next: rank other candidates: by this indicator none here is better than random weights."
    if len(fine_tuned) == 1:
        name = ranking.candidates[fine_tuned[0]].name
        return f"Next: fine-tune {name}, and random weights of its architecture beside it, with two or more seeds."
    return (
        f"Next: fine-tune {listed([ranking.candidates[index].name for index in fine_tuned])} once each and keep the best on "
        "validation patients; no indicator is known to choose better than that."
    )


def _imports(ranking: Ranking) -> list[str]:
    """Say how the candidates to fine-tune that are no checkpoints of ours become some, one of each kind."""
    if not ranking.decides:
        return []
    chosen = [ranking.candidates[index] for index in ranking.kept if not ranking.is_random(index)]
    lines = []
    for kind in dict.fromkeys(candidate.kind for candidate in chosen if candidate.kind in IMPORTS):
        alike = [candidate for candidate in chosen if candidate.kind == kind]
        first, others = alike[0], "; likewise the others" if len(alike) > 1 else ""
        target = ranking.target if ranking.prepared else None
        steps = timm_steps(first.arguments["name"], target) if kind == "timm" else how_to_import(kind)
        lines.append(f"To fine-tune or race {first.name}, import it: {steps}{others}.")
    return lines
