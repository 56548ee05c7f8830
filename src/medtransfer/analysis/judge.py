"""Judge one pool: its candidates and the choice of each selector, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer import tracking
from medtransfer.analysis.model import Candidate, Interval, Judged, Verdict
from medtransfer.analysis.pools import Pool
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.pairs import read_pair
from medtransfer.indicators.robustness.triplet import bootstrap_robustness, triplet_losses
from medtransfer.metrics.transfer import CORRELATIONS, Key, regret, tis_random, transferability_indicator_score
from medtransfer.metrics.uncertainty import (
    Draws,
    bootstrap_seed_means,
    confidence_set,
    draw_images,
    interval,
    probability_best,
)
from medtransfer.records import checkpoint_path
from medtransfer.seeds import derive_seed
from medtransfer.selectors.rules import Choice
from medtransfer.selectors.selectors import OUTCOME, Selector, selectors_for


@dataclass(frozen=True)
class Sampling:
    """How intervals are drawn: number of bootstrap draws, confidence, seed."""

    draws: int
    confidence: float
    seed: int

    def generator(self, *parts: str) -> np.random.Generator:
        """Return the random generator of a part of the report, which is independent of all others."""
        return np.random.default_rng(derive_seed(self.seed, *parts))


@dataclass(frozen=True)
class Drawn:
    """Draws (B, C) of the values of C candidates, on which choices are repeated."""

    candidates: Sequence[Key]
    values: Draws

    def interval_of(self, candidate: Key, confidence: float) -> Interval | None:
        """Return the percentile interval of one candidate's value; None if it was not drawn."""
        if candidate not in self.candidates:
            return None
        return _bounds(self.values[:, list(self.candidates).index(candidate)], confidence)


def unjudged(pool: Pool) -> str:
    """Return why a pool cannot be judged; empty if it can.

    Where a candidate lacks its outcome the best is unknown; where no model learned, all have the same one, and every
    choice would be the best.
    """
    if not pool.complete:
        return "incomplete: the best checkpoint is unknown while fine-tunings are missing"
    means = pool.means.values()
    if max(means) == min(means):
        return f"all checkpoints have the same mean {pool.metric.label}, {max(means):.3f}, so every choice is the best"
    if max(means) <= 0:
        return f"the best mean {pool.metric.label} is {max(means):.3f}, but TIS is defined above 0 only"
    return ""


def judge(pool: Pool, sampling: Sampling) -> Judged:
    """Judge every candidate, and every selector that can choose in the pool; a single seed gives no intervals."""
    draws, notes = _draw(pool, sampling)
    candidates = _candidates(pool, draws, sampling.confidence)
    if reason := unjudged(pool):
        return Judged(pool, candidates, (), {}, reason, notes)
    near = {candidate.key for candidate in candidates if candidate.within_noise}
    choices = [(selector, selector.choose(pool)) for selector in selectors_for(pool)]
    verdicts = [
        _verdict(pool, selector, choice, near, draws, sampling.confidence) for selector, choice in choices if choice is not None
    ]
    scores = {candidate: score for candidate, score in pool.robustness.items() if candidate in pool.means}
    correlations = {name: f(scores, pool.means).value for name, f in CORRELATIONS.items()} if len(scores) > 1 else {}
    return Judged(pool, candidates, tuple(verdicts), correlations, "", notes)


def _draw(pool: Pool, sampling: Sampling) -> tuple[dict[str, Drawn], tuple[str, ...]]:
    """Draw mean outcomes and robustness, as far as possible; also return notes on missing draws of robustness."""
    draws: dict[str, Drawn] = {}
    if all(len(values) > 1 for values in pool.values.values()):
        outcomes = bootstrap_seed_means(pool.values, sampling.draws, sampling.generator(pool.name))
        draws[OUTCOME] = Drawn(list(pool.means), outcomes)
    if not pool.score_run or not pool.robustness:
        return draws, ()
    try:
        losses = _losses(pool)
    except InputError as error:
        return draws, (f"{pool.name}: robustness has no interval: {error}",)
    robustness = bootstrap_robustness(losses, _images_taken(losses.shape[1], sampling))
    return {**draws, "robustness": Drawn(sorted(pool.robustness), robustness)}, ()


@lru_cache(maxsize=2)
def _images_taken(count: int, sampling: Sampling) -> Draws:
    """Draw images; the draws depend on the number of images only and are shared by all pools with that number."""
    return draw_images(count, sampling.draws, sampling.generator("images", str(count)))


def _losses(pool: Pool) -> NDArray[np.float64]:
    """Read the triplet loss of every scored candidate and image, (C, N)."""
    assert pool.score is not None  # only pools with scores have losses
    key = pool.score.key(pool.fields["mode"])
    with tracking.artifact_folder(pool.score_run, "scores") as folder:
        files = [checkpoint_path(folder, int(epoch)).with_suffix(".npz") for epoch in sorted(pool.robustness)]
        return np.stack([triplet_losses(*read_pair(file, *key), pool.score.margin) for file in files])


def _candidates(pool: Pool, draws: Mapping[str, Drawn], confidence: float) -> tuple[Candidate, ...]:
    near = confidence_set(pool.values, confidence)
    outcomes = draws.get(OUTCOME)
    best = None if outcomes is None else probability_best(outcomes.values)
    return tuple(
        Candidate(
            key=key, mean=statistics.mean, std=statistics.std, seeds=statistics.n,
            interval=None if outcomes is None else outcomes.interval_of(key, confidence),
            p_best=None if best is None else float(best[index]), within_noise=key in near,
            scores={name: values[key] for name, values in pool.scores.items() if key in values},
            score_intervals={
                name: bounds for name, drawn in draws.items()
                if name != OUTCOME and (bounds := drawn.interval_of(key, confidence))
            },
        )
        for index, (key, statistics) in enumerate(pool.seed_means.items())
    )  # fmt: skip


def _verdict(
    pool: Pool, selector: Selector, choice: Choice[Any], near: set[Key], draws: Mapping[str, Drawn], confidence: float
) -> Verdict:
    means, chosen = pool.means, choice.candidate
    bounds = _tis_interval(selector, choice, draws, confidence)
    spent = selector.spent(pool, choice)
    if chosen is None:
        average = sum(means.values()) / len(means)
        return Verdict(selector, None, average, tis_random(means), bounds, max(means.values()) - average, spent, (), None)
    tis = transferability_indicator_score(means, chosen)
    return Verdict(
        selector, chosen, means[chosen], tis, bounds, regret(means, chosen), spent, choice.tied, chosen in near
    )  # fmt: skip


def _tis_interval(selector: Selector, choice: Choice[Any], draws: Mapping[str, Drawn], confidence: float) -> Interval | None:
    """Return the interval of a choice's TIS; if the selector's score was drawn, each draw chooses again."""
    if OUTCOME not in draws:
        return None
    outcomes, scores = draws[OUTCOME], draws.get(selector.needs or "")
    if choice.candidate is None:
        kept = outcomes.values.mean(axis=1)
    elif selector.rule is not None and scores is not None:
        columns = np.array([list(outcomes.candidates).index(candidate) for candidate in scores.candidates])
        chosen = columns[selector.rule.choose_many(selector.sign * scores.values, scores.candidates)]
        kept = outcomes.values[np.arange(len(chosen)), chosen]
    else:
        kept = outcomes.values[:, list(outcomes.candidates).index(choice.candidate)]
    return _bounds(kept / outcomes.values.max(axis=1), confidence)


def _bounds(draws: Draws, confidence: float) -> Interval:
    low, high = interval(draws, confidence)
    return float(low), float(high)
