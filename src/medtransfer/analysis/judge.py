"""Judge one pool: its candidates and the choice of each selector, with intervals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer import tracking
from medtransfer.analysis.model import Candidate, Interval, Judged, Sampling, Verdict
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.robustness_draws import Drawn, draw
from medtransfer.analysis.trials import judge_trial
from medtransfer.errors import InputError
from medtransfer.forks import share
from medtransfer.metrics.ties import rounded
from medtransfer.metrics.transfer import CORRELATIONS, Key, named, regret, tis_random, transferability_indicator_score
from medtransfer.metrics.uncertainty import Estimates, confidence_set, estimate, mean_interval, probability_best, tis_interval
from medtransfer.selectors.rules import Choice
from medtransfer.selectors.selectors import OUTCOME, Selector, selectors_for

LEAST_GROUPS = 16  # of pools that are worth a process
_Parts = tuple[tuple[Candidate, ...], tuple[Verdict, ...], Mapping[str, float], str, tuple[str, ...]]  # of Judged, after its pool


def unjudged(pool: Pool, least: float) -> str:
    """Return why a pool cannot be judged; empty if it can.

    Where a candidate lacks its outcome the best is unknown; where no model learned, the best is noise.

    Args:
        pool: the pool.
        least: share of the way from chance to the best possible outcome up to which models learned nothing.
    """
    floor = pool.metric.floor(least)
    if not pool.complete:
        return "incomplete: the best checkpoint is unknown while fine-tunings are missing"
    means = pool.means.values()
    if pool.blind:
        return "no model learned: none predicts any foreground in any test image; train for more epochs or at another learning rate"
    if len(means) == 1:
        return f"only {named(next(iter(pool.means)))} was fine-tuned by this recipe: there is nothing to choose between"
    if max(means) == min(means):
        return f"all checkpoints have the same mean {pool.metric.label}, {max(means):.3f}, so every choice is the best"
    if rounded(max(means)) <= rounded(floor):
        return (
            f"no model learned: the best mean {pool.metric.label} is {max(means):.3f}, and results up to {floor:g} "
            "(report.least) are not judged; train for more epochs or at another learning rate, and look at the labels"
        )
    return ""


def judge(pool: Pool, sampling: Sampling) -> Judged:
    """Judge a single pool; see `judge_all`."""
    return next(judge_all([pool], sampling))


def judge_all(pools: Sequence[Pool], sampling: Sampling) -> Iterator[Judged]:
    """Judge every candidate, and every selector that can choose in each pool; a single seed gives no intervals.

    Neighbours with the same score run share what is read of it. Many pools are judged on all cores.
    """
    local = tracking.locate_artifacts({pool.score_run for pool in pools if pool.score_run})
    groups = [list(neighbours) for _, neighbours in groupby(pools, lambda pool: pool.score_run)]
    work, elsewhere = partial(_judge_group, sampling), partial(_judge_elsewhere, sampling, local)
    for group, parts in zip(groups, share(work, groups, LEAST_GROUPS, elsewhere), strict=True):
        for pool, of_pool in zip(group, parts, strict=True):
            yield Judged(pool, *of_pool)


def _judge_group(sampling: Sampling, pools: Sequence[Pool]) -> list[_Parts]:
    """Judge pools of the same score run."""
    return [
        _judge(pool, sampling, None, (f"{pool.name}: robustness has no interval: {drawn}",))
        if isinstance(drawn, InputError)
        else _judge(pool, sampling, drawn, ())
        for pool, drawn in zip(pools, draw(pools, sampling), strict=True)
    ]


def _judge_elsewhere(sampling: Sampling, local: Mapping[str, Path], pools: Sequence[Pool]) -> list[_Parts]:
    """Judge pools in another process, which has no connection to the store.

    Raises:
        KeyError: the artifacts of their score run are not among the local ones.
        InputError: some of them cannot be read, which this process would not note.
    """
    folder = local[pools[0].score_run] / "scores" if pools[0].score_run else None
    parts = []
    for pool, drawn in zip(pools, draw(pools, sampling, folder), strict=True):
        if isinstance(drawn, InputError):
            raise drawn
        parts.append(_judge(pool, sampling, drawn, ()))
    return parts


def _judge(pool: Pool, sampling: Sampling, drawn: Drawn | None, notes: tuple[str, ...]) -> _Parts:
    """Return the fields of a judged pool after the pool itself."""
    estimates = _estimates(pool)
    candidates = _candidates(pool, estimates, drawn, sampling)
    if reason := unjudged(pool, sampling.least):
        return candidates, (), {}, reason, notes
    near = {candidate.key for candidate in candidates if candidate.within_noise}
    choices = [(selector, selector.choose(pool)) for selector in selectors_for(pool)]
    interval_of = cache(lambda chosen: None if estimates is None else tis_interval(estimates, chosen, sampling.confidence))
    verdicts = [
        _verdict(pool, selector, choice, near, interval_of, drawn) for selector, choice in choices if choice is not None
    ]  # fmt: skip
    scores = {candidate: score for candidate, score in pool.robustness.items() if candidate in pool.means}
    correlations = {name: f(scores, pool.means).value for name, f in CORRELATIONS.items()} if len(scores) > 1 else {}
    return candidates, tuple(verdicts), correlations, "", notes


def _estimates(pool: Pool) -> Estimates | None:
    """Return the mean outcomes and their errors; None if a candidate has a single seed."""
    if any(len(values) < 2 for values in pool.values.values()):
        return None
    return estimate(pool.values, apart={0} if pool.is_series else (), blocked=pool.same_seeds)


def _candidates(pool: Pool, estimates: Estimates | None, drawn: Drawn | None, sampling: Sampling) -> tuple[Candidate, ...]:
    keys, confidence, metric = list(pool.means), sampling.confidence, pool.metric
    near = keys if estimates is None else confidence_set(estimates, confidence)
    best = None if estimates is None else probability_best(estimates, sampling.draws, sampling.generator(pool.name))
    intervals, rises = ({}, {}) if drawn is None else (drawn.intervals(confidence), drawn.rises())
    return tuple(
        Candidate(
            key=key, mean=statistics.mean, std=statistics.std, seeds=statistics.n,
            interval=None if estimates is None else mean_interval(pool.values[key], confidence, metric.low, metric.high),
            p_best=None if best is None else float(best[index]), within_noise=key in near,
            scores={name: values[key] for name, values in pool.scores.items() if key in values},
            score_intervals={"robustness": intervals[key]} if key in intervals else {},
            rise=rises.get(key),
        )
        for index, (key, statistics) in enumerate(pool.seed_means.items())
    )  # fmt: skip


def _verdict(
    pool: Pool, selector: Selector, choice: Choice[Any], near: set[Key], interval_of: Callable[[Key | None], Interval | None],
    drawn: Drawn | None,
) -> Verdict:  # fmt: skip
    if selector.trial:
        return judge_trial(pool, selector, selector.spent(pool, choice))
    means, chosen = pool.means, choice.candidate
    seen = selector.needs == OUTCOME  # chosen by the outcomes, so that their noise is in the choice
    bounds = None if seen else interval_of(chosen)
    spent = selector.spent(pool, choice)
    if chosen is None:
        average = sum(means.values()) / len(means)
        return Verdict(selector, None, average, tis_random(means), bounds, max(means.values()) - average, spent, (), None)
    tis = transferability_indicator_score(means, chosen)
    return Verdict(
        selector, chosen, means[chosen], tis, bounds, regret(means, chosen), spent, choice.tied, chosen in near,
        _stability(selector, chosen, drawn),
    )  # fmt: skip


def _stability(selector: Selector, chosen: Key, drawn: Drawn | None) -> float | None:
    """Return the share of draws in which a choice by robustness stays the same; a single group has only one draw."""
    if drawn is None or drawn.count < 2 or selector.needs != "robustness" or selector.rule is None:
        return None
    again = selector.rule.choose_many(selector.sign * drawn.values, drawn.candidates)
    return float(np.mean(again == drawn.candidates.index(chosen)))
