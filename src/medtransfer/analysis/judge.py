"""Judge one pool: its candidates and the choice of each selector, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer import tracking
from medtransfer.analysis.model import Candidate, Interval, Judged, Sampling, Verdict
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.trials import judge_trial
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.pairs import read_pair
from medtransfer.indicators.robustness.triplet import bootstrap_robustness, standard_error, triplet_losses
from medtransfer.metrics.transfer import CORRELATIONS, Key, named, regret, tis_random, transferability_indicator_score
from medtransfer.metrics.uncertainty import (
    Estimates,
    confidence_set,
    draw_groups,
    estimate,
    interval,
    mean_interval,
    probability_best,
    tis_interval,
)  # fmt: skip
from medtransfer.records import checkpoint_path
from medtransfer.selectors.rules import Choice
from medtransfer.selectors.selectors import OUTCOME, Selector, selectors_for

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """Per-image losses and bootstrap draws of the scores of C candidates.

    Attributes:
        candidates: keys, ascending.
        losses: (C, N), whose mean over the images is 1 - score.
        groups: group of each image, (N,).
        values: draws (B, C) of the scores.
    """

    candidates: Sequence[Key]
    losses: Array
    groups: Sequence[str]
    values: Array

    def intervals(self, confidence: float) -> dict[Key, Interval]:
        """Return the percentile interval of each candidate's score."""
        low, high = interval(self.values, confidence)
        return dict(zip(self.candidates, zip(low.tolist(), high.tolist(), strict=True), strict=True))

    def rise_to(self, candidate: Key) -> tuple[float, float] | None:
        """Return the rise of the score from the candidate before, and its standard error over groups."""
        if candidate not in self.candidates[1:]:
            return None
        index = self.candidates.index(candidate)
        gain = self.losses[index - 1] - self.losses[index]
        return float(gain.mean()), standard_error(gain, self.groups)


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
    if max(means) <= floor:
        return (
            f"no model learned: the best mean {pool.metric.label} is {max(means):.3f}, and results up to {floor:g} "
            "(report.least) are not judged; train for more epochs or at another learning rate, and look at the labels"
        )
    return ""


def judge(pool: Pool, sampling: Sampling) -> Judged:
    """Judge every candidate, and every selector that can choose in the pool; a single seed gives no intervals."""
    estimates = _estimates(pool)
    drawn, notes = _draw(pool, sampling)
    candidates = _candidates(pool, estimates, drawn, sampling)
    if reason := unjudged(pool, sampling.least):
        return Judged(pool, candidates, (), {}, reason, notes)
    near = {candidate.key for candidate in candidates if candidate.within_noise}
    choices = [(selector, selector.choose(pool)) for selector in selectors_for(pool)]
    verdicts = [
        _verdict(pool, selector, choice, near, estimates, drawn, sampling.confidence)
        for selector, choice in choices if choice is not None
    ]  # fmt: skip
    scores = {candidate: score for candidate, score in pool.robustness.items() if candidate in pool.means}
    correlations = {name: f(scores, pool.means).value for name, f in CORRELATIONS.items()} if len(scores) > 1 else {}
    return Judged(pool, candidates, tuple(verdicts), correlations, "", notes)


def _estimates(pool: Pool) -> Estimates | None:
    """Return the mean outcomes and their errors; None if a candidate has a single seed."""
    if any(len(values) < 2 for values in pool.values.values()):
        return None
    return estimate(pool.values, apart={0} if pool.is_series else (), blocked=pool.same_seeds)


def _draw(pool: Pool, sampling: Sampling) -> tuple[Drawn | None, tuple[str, ...]]:
    """Draw robustness where per-image distances are stored; also return notes on missing draws."""
    if not pool.score_run or not pool.robustness:
        return None, ()
    try:
        losses, groups = _losses(pool)
    except InputError as error:
        return None, (f"{pool.name}: robustness has no interval: {error}",)
    values = bootstrap_robustness(losses, _images_taken(groups, sampling))
    return Drawn(sorted(pool.robustness), losses, groups, values), ()


@lru_cache(maxsize=2)
def _images_taken(groups: tuple[str, ...], sampling: Sampling) -> Array:
    """Draw groups of images; the draws depend on the groups only and are shared by all pools that have them."""
    return draw_groups(groups, sampling.draws, sampling.generator("images", str(len(groups))))


def _losses(pool: Pool) -> tuple[Array, tuple[str, ...]]:
    """Read the triplet loss of every scored candidate and image, (C, N), and the group of each image."""
    assert pool.score is not None  # only pools with scores have losses
    key = pool.score.key(pool.fields["mode"])
    with tracking.artifact_folder(pool.score_run, "scores") as folder:
        pairs = [read_pair(checkpoint_path(folder, int(epoch)).with_suffix(".npz"), *key) for epoch in sorted(pool.robustness)]
    losses = np.stack([triplet_losses(d_pos, d_neg, pool.score.margin) for d_pos, d_neg, _ in pairs])
    return losses, tuple(pairs[0][2])


def _candidates(pool: Pool, estimates: Estimates | None, drawn: Drawn | None, sampling: Sampling) -> tuple[Candidate, ...]:
    keys, confidence, metric = list(pool.means), sampling.confidence, pool.metric
    near = keys if estimates is None else confidence_set(estimates, confidence)
    best = None if estimates is None else probability_best(estimates, sampling.draws, sampling.generator(pool.name))
    intervals = {} if drawn is None else drawn.intervals(confidence)
    return tuple(
        Candidate(
            key=key, mean=statistics.mean, std=statistics.std, seeds=statistics.n,
            interval=None if estimates is None else mean_interval(pool.values[key], confidence, metric.low, metric.high),
            p_best=None if best is None else float(best[index]), within_noise=key in near,
            scores={name: values[key] for name, values in pool.scores.items() if key in values},
            score_intervals={"robustness": intervals[key]} if key in intervals else {},
            rise=None if drawn is None else drawn.rise_to(key),
        )
        for index, (key, statistics) in enumerate(pool.seed_means.items())
    )  # fmt: skip


def _verdict(
    pool: Pool, selector: Selector, choice: Choice[Any], near: set[Key], estimates: Estimates | None, drawn: Drawn | None,
    confidence: float,
) -> Verdict:  # fmt: skip
    if selector.trial:
        return judge_trial(pool, selector, selector.spent(pool, choice))
    means, chosen = pool.means, choice.candidate
    seen = selector.needs == OUTCOME  # chosen by the outcomes, so that their noise is in the choice
    bounds = None if estimates is None or seen else tis_interval(estimates, chosen, confidence)
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
    """Return the share of draws in which a choice by robustness stays the same."""
    if drawn is None or selector.needs != "robustness" or selector.rule is None:
        return None
    again = selector.rule.choose_many(selector.sign * drawn.values, drawn.candidates)
    return float(np.mean(again == drawn.candidates.index(chosen)))
