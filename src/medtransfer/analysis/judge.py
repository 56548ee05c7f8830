"""A configuration goes in; its checkpoints and what each way of choosing would have brought, with intervals, come out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medtransfer import tracking
from medtransfer.analysis.model import Checkpoint, Interval, Judged, Verdict
from medtransfer.analysis.pools import Configuration
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.triplet import triplet_losses
from medtransfer.metrics.transfer import (
    CORRELATIONS,
    SeedMean,
    mean_over_seeds,
    regret,
    tis_random,
    transferability_indicator_score,
)
from medtransfer.metrics.uncertainty import (
    bootstrap_robustness,
    bootstrap_seed_means,
    confidence_set,
    draw_images,
    interval,
    probability_best,
)
from medtransfer.records import checkpoint_path, read_pair
from medtransfer.seeds import derive_seed
from medtransfer.selectors.rules import Choice, choose_offline, choose_online, offline, online

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How intervals are drawn: number of bootstrap draws, confidence, seed."""

    draws: int
    confidence: float
    seed: int

    def generator(self, *parts: str) -> np.random.Generator:
        """Give the random stream that belongs to the named part of the report and to nothing else."""
        return np.random.default_rng(derive_seed(self.seed, *parts))


def used_seeds(configuration: Configuration) -> dict[int, list[float]]:
    """Give the Dice by epoch over the seeds that all epochs share, or over all where none is or every seed is wanted."""
    common = () if configuration.every_seed else configuration.common_seeds
    used = set(common or configuration.seeds)
    found: dict[int, list[float]] = {}
    for (epoch, seed), dice in sorted(configuration.dice.items()):
        if seed in used:
            found.setdefault(epoch, []).append(dice)
    return found


def seed_means(configuration: Configuration) -> dict[int, SeedMean]:
    """Give mean and standard deviation of the Dice by epoch, over the seeds of `used_seeds`."""
    dice = used_seeds(configuration)
    return mean_over_seeds({(epoch, place): value for epoch in dice for place, value in enumerate(dice[epoch])})


def unjudged(configuration: Configuration) -> str:
    """Say why a configuration cannot be judged; empty when it can.

    Where an epoch lacks its Dice the best is unknown; where no model learned, all have the Dice of an empty mask, and
    every choice would be the best.
    """
    if not configuration.complete:
        return "incomplete: the best checkpoint is unknown while fine-tunings are missing"
    means = [found.mean for found in seed_means(configuration).values()]
    if max(means) <= 0 or max(means) == min(means):
        return f"all checkpoints have the same mean Dice, {max(means):.3f}, so every choice is the best"
    return ""


def judge(configuration: Configuration, sampling: Sampling) -> Judged:
    """Judge every checkpoint and every way of choosing.

    Robustness is judged where every epoch has it, save that epoch 0 may lack it (and then takes no part); source accuracy
    where every epoch has it. With a single seed there are no intervals.
    """
    means = {epoch: found.mean for epoch, found in seed_means(configuration).items()}
    dice = used_seeds(configuration)
    several = all(len(values) > 1 for values in dice.values())
    rng = sampling.generator(configuration.name)
    dice_draws = bootstrap_seed_means(dice, sampling.draws, rng) if several else None
    score_draws, notes = _score_draws(configuration, sampling)
    checkpoints = _checkpoints(configuration, dice_draws, score_draws, sampling.confidence)
    if reason := unjudged(configuration):
        return Judged(configuration, checkpoints, (), {}, reason, notes)
    near = {one.epoch for one in checkpoints if one.within_noise}
    chosen = _chosen(configuration, means, score_draws, list(means))
    verdicts = [_verdict(means, near, dice_draws, sampling.confidence, *one) for one in chosen]
    verdicts.append(_random(means, dice_draws, sampling.confidence))
    scores = {epoch: value for epoch, value in configuration.robustness.items() if epoch in means}
    correlations = {name: f(scores, means).value for name, f in CORRELATIONS.items()} if len(scores) > 1 else {}
    return Judged(configuration, checkpoints, tuple(verdicts), correlations, "", notes)


def _score_draws(configuration: Configuration, sampling: Sampling) -> tuple[Draws | None, tuple[str, ...]]:
    """Draw the robustness of all scored epochs, (draws, E), from the stored distances; without them say so."""
    if not configuration.score_run or not configuration.robustness:
        return None, ()
    try:
        losses = _losses(configuration)
    except InputError as fault:
        return None, (f"{configuration.name}: robustness has no interval: {fault}",)
    return bootstrap_robustness(losses, _taken(losses.shape[1], sampling)), ()


@lru_cache(maxsize=2)
def _taken(count: int, sampling: Sampling) -> Draws:
    """Draw images once for all configurations of as many images: the draws belong to the number, not to the place in a list."""
    return draw_images(count, sampling.draws, sampling.generator("images", str(count)))


def _losses(configuration: Configuration) -> NDArray[np.float64]:
    """Read the triplet loss of every scored epoch and image, (E, N)."""
    setting = configuration.score
    key = setting["distance"], int(setting["level"]), setting["pooled"]
    with tracking.artifact_folder(configuration.score_run, "scores") as folder:
        files = [checkpoint_path(folder, epoch).with_suffix(".npz") for epoch in sorted(configuration.robustness)]
        return np.stack([triplet_losses(*read_pair(file, *key), float(setting["margin"])) for file in files])


def _checkpoints(
    configuration: Configuration, dice_draws: Draws | None, score_draws: Draws | None, confidence: float
) -> tuple[Checkpoint, ...]:
    means = seed_means(configuration)
    near = confidence_set(used_seeds(configuration), confidence)
    best = None if dice_draws is None else probability_best(dice_draws)
    scored = sorted(configuration.robustness)
    return tuple(
        Checkpoint(
            epoch=epoch, dice=found.mean, std=found.std, seeds=found.n,
            dice_interval=_interval(dice_draws, place, confidence),
            p_best=None if best is None else float(best[place]), within_noise=epoch in near,
            robustness=configuration.robustness.get(epoch),
            robustness_interval=_interval(score_draws, scored.index(epoch), confidence) if epoch in scored else None,
            accuracy=configuration.accuracy.get(epoch),
        )
        for place, (epoch, found) in enumerate(means.items())
    )  # fmt: skip


def _interval(draws: Draws | None, place: int, confidence: float) -> Interval | None:
    if draws is None:
        return None
    low, high = interval(draws[:, place], confidence)
    return float(low), float(high)


Chosen = tuple[str, Choice, float, NDArray[np.int64] | None]  # selector, choice, epochs spent, places chosen by draw


def _chosen(configuration: Configuration, means: Mapping[int, float], score_draws: Draws | None, epochs: list[int]) -> list[Chosen]:
    """List every choice; where scores were drawn, also which place of `epochs` each draw would choose."""
    last, scores = epochs[-1], configuration.robustness
    found: list[Chosen] = []
    if scores and set(epochs) - {0} <= set(scores):
        scored = sorted(scores)
        places = np.array([epochs.index(epoch) for epoch in scored])
        redrawn = None if score_draws is None else places[choose_offline(score_draws)]
        found.append(("offline", offline(scores), last, redrawn))
        if any(scored):
            walk = online(scores)
            redrawn = None if score_draws is None else places[choose_online(score_draws, scored)]
            found.append(("online", walk, walk.stopped_at or last, redrawn))
    if set(configuration.accuracy) >= set(epochs):
        found.append(("source-accuracy", offline({epoch: configuration.accuracy[epoch] for epoch in epochs}), last, None))
    found += [("none", Choice(0), 0, None)] if 0 in means else []
    found.append(("full", Choice(last), last, None))
    found += [(f"fixed-{epoch}", Choice(epoch), epoch, None) for epoch in epochs if epoch]
    found.append(("oracle", offline(means), last, None))
    return found


def _verdict(
    means: Mapping[int, float], near: set[int], dice_draws: Draws | None, confidence: float, selector: str, choice: Choice,
    spent: float, redrawn: NDArray[np.int64] | None,
) -> Verdict:  # fmt: skip
    bounds: Interval | None = None
    if selector == "oracle":
        bounds = (1.0, 1.0) if dice_draws is not None else None  # by definition
    elif dice_draws is not None:
        places = np.full(len(dice_draws), list(means).index(choice.epoch)) if redrawn is None else redrawn
        brought = dice_draws[np.arange(len(dice_draws)), places] / dice_draws.max(axis=1)
        bounds = _interval(brought[:, None], 0, confidence)
    return Verdict(
        selector, choice.epoch, means[choice.epoch], transferability_indicator_score(means, choice.epoch), bounds,
        regret(means, choice.epoch), spent, choice.tied, choice.epoch in near,
    )  # fmt: skip


def _random(means: Mapping[int, float], dice_draws: Draws | None, confidence: float) -> Verdict:
    average = sum(means.values()) / len(means)
    brought = None if dice_draws is None else (dice_draws.mean(axis=1) / dice_draws.max(axis=1))[:, None]
    return Verdict(
        "random", None, average, tis_random(means), _interval(brought, 0, confidence), max(means.values()) - average,
        sum(means) / len(means), (), None,
    )  # fmt: skip
