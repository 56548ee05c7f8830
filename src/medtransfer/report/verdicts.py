"""A configuration goes in; what each way of choosing a checkpoint would have brought comes out (Eq. 1)."""

from collections import defaultdict
from dataclasses import dataclass

from medtransfer.metrics.selection import Choice, offline, online
from medtransfer.metrics.transfer import SeedMean, mean_over_seeds, tis_random, transferability_indicator_score
from medtransfer.report.collect import Configuration


@dataclass(frozen=True)
class Verdict:
    """One way of choosing, on one configuration.

    Attributes:
        selector: its name; `random` has no epoch and gives the expected value.
        epoch: the chosen checkpoint.
        dice: its mean test Dice over the seeds.
        tis: relative to the best checkpoint.
        spent: epochs of pretraining that had to be run to make the choice.
        tied: other epochs with the same score.
    """

    selector: str
    epoch: int | None
    dice: float
    tis: float
    spent: float
    tied: tuple[int, ...] = ()


def seed_means(configuration: Configuration) -> dict[int, SeedMean]:
    """Give mean and standard deviation of the Dice by epoch, over the seeds that all epochs share, or else all there are."""
    common = configuration.common_seeds or configuration.seeds
    return mean_over_seeds({key: dice for key, dice in configuration.dice.items() if key[1] in common})


def leaves_a_choice(configuration: Configuration) -> bool:
    """Tell whether some checkpoint is better than another; where no model learns, all have the Dice of an empty mask."""
    means = [found.mean for found in seed_means(configuration).values()]
    return max(means) > min(means) and max(means) > 0


def judge(configuration: Configuration) -> list[Verdict]:
    """Judge every way of choosing; none when an epoch lacks its Dice or no seed is shared, since the best is then
    unknown, or when all checkpoints are equally good, since every choice is then the best.

    Robustness and source accuracy are judged only where every epoch has them.
    """
    means = {epoch: found.mean for epoch, found in seed_means(configuration).items()}
    epochs = configuration.epochs
    if not configuration.complete or not leaves_a_choice(configuration):
        return []
    last = epochs[-1]
    chosen: list[tuple[str, Choice, float]] = []
    if set(configuration.robustness) == set(epochs):
        chosen.append(("offline", offline(configuration.robustness), last))
        if any(epochs):
            walk = online(configuration.robustness)
            chosen.append(("online", walk, walk.stopped_at or last))
    if set(configuration.accuracy) == set(epochs):
        chosen.append(("source-accuracy", offline(configuration.accuracy), last))
    chosen += [("none", Choice(0), 0)] if 0 in means else []
    chosen.append(("full", Choice(last), last))
    chosen += [(f"fixed-{epoch}", Choice(epoch), epoch) for epoch in epochs if epoch]
    chosen.append(("oracle", offline(means), last))
    verdicts = [
        Verdict(name, c.epoch, means[c.epoch], transferability_indicator_score(means, c.epoch), spent, c.tied)
        for name, c, spent in chosen
    ]
    average = sum(means.values()) / len(means)
    return [*verdicts, Verdict("random", None, average, tis_random(means), sum(epochs) / len(epochs))]


def mean_tis(verdicts: dict[str, list[Verdict]]) -> list[dict[str, float | str]]:
    """Average each selector over the configurations in which it chose.

    Args:
        verdicts: by configuration name.

    Returns:
        A row a selector: selector, configurations, mean_tis, min_tis, mean_epochs.
    """
    by_selector: dict[str, list[Verdict]] = defaultdict(list)
    for found in verdicts.values():
        for verdict in found:
            by_selector[verdict.selector].append(verdict)
    return [
        {
            "selector": selector, "configurations": len(found), "mean_tis": sum(v.tis for v in found) / len(found),
            "min_tis": min(v.tis for v in found), "mean_epochs": sum(v.spent for v in found) / len(found),
        }
        for selector, found in by_selector.items()
    ]  # fmt: skip
