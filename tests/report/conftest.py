"""Hand-made analyses for the page, its charts, words and tables: small, like the paper's, broken, single-seeded."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from medtransfer.analysis.model import Analysis, Checkpoint, Contrast, Judged, Summary, Verdict
from medtransfer.analysis.pools import Configuration

LENGTHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
Make = Callable[..., Analysis]


def configuration(epochs: Sequence[int], seeds: int, rng: np.random.Generator, **fields: str) -> Configuration:
    named = {"source": "imagenet", "origin": "simple", "encoder": "unet", "target": "acdc", "mode": "full", **fields}
    height, gain = rng.uniform(0.6, 0.9), rng.uniform(0.02, 0.12)
    rise = np.array([1 - np.exp(-epoch / 30) for epoch in epochs])
    means = height - gain * (1 - rise) + rng.normal(0, 0.006, len(epochs))
    robust = 0.7 + 0.2 * rise + rng.normal(0, 0.02, len(epochs))
    dice = {
        (epoch, 123124 + seed): float(mean + rng.normal(0, 0.008)) for epoch, mean in zip(epochs, means, strict=True)
        for seed in range(seeds)
    }  # fmt: skip
    return Configuration(
        named, {"pretraining": "8f3a0c11", "data": "b2d4e6f8", "protocol": "paper-00"}, dice=dice,
        robustness=dict(zip(epochs, map(float, robust), strict=True)),
        accuracy={epoch: float(0.75 * share) for epoch, share in zip(epochs, rise, strict=True)}, epochs=tuple(epochs),
        setting="cosine, margin 0.5, level -2, 200 images, flattened", score_run="5c0de5",
        runs=[f"{int(rng.integers(2**60)):032x}" for _ in dice],
    )  # fmt: skip


def judged(one: Configuration) -> Judged:
    """Judge roughly: intervals of two standard errors, enough to look at and to count."""
    points = tuple(_point(one, epoch) for epoch in one.epochs)
    best = max(points, key=lambda point: point.dice)
    near = {point.epoch for point in points if point.seeds < 2 or point.dice + 2 * point.std / point.seeds**0.5 > best.dice}
    points = tuple(replace(point, within_noise=point.epoch in near) for point in points)
    last, dice = one.epochs[-1], {point.epoch: point.dice for point in points}
    chosen: dict[str, tuple[int, float]] = {"offline": (max(one.robustness, key=lambda e: one.robustness[e]), last)}
    kept = epoch = one.epochs[1]
    for epoch in one.epochs[2:]:
        if one.robustness[epoch] <= one.robustness[kept]:
            break
        kept = epoch
    chosen |= {"online": (kept, min(last, epoch)), "source-accuracy": (last, last), "none": (0, 0), "full": (last, last),
               **{f"fixed-{epoch}": (epoch, epoch) for epoch in one.epochs[1:]}, "oracle": (best.epoch, last)}  # fmt: skip
    verdicts = [_verdict(name, epoch, dice[epoch], best.dice, spent, points[0].seeds, epoch in near)
                for name, (epoch, spent) in chosen.items()]  # fmt: skip
    average = sum(dice.values()) / len(dice)
    random = _verdict("random", None, average, best.dice, sum(one.epochs) / len(one.epochs), points[0].seeds, None)
    return Judged(one, points, (*verdicts, random), {"spearman": 0.61, "kendall": 0.47, "weighted_kendall": 0.33}, "")


def _point(one: Configuration, epoch: int) -> Checkpoint:
    values = [value for (e, _), value in one.dice.items() if e == epoch]
    mean, several = float(np.mean(values)), len(values) > 1
    std = float(np.std(values, ddof=1)) if several else float("nan")
    error = 2 * std / len(values) ** 0.5
    robust = one.robustness[epoch]
    return Checkpoint(epoch, mean, std, len(values), (mean - error, mean + error) if several else None,
                      1 / len(one.epochs) if several else None, True, robust, (robust - 0.012, robust + 0.012),
                      one.accuracy[epoch])  # fmt: skip


def _verdict(name: str, epoch: int | None, dice: float, best: float, spent: float, seeds: int, near: bool | None) -> Verdict:
    tis = dice / best
    interval = (tis - 0.01, min(1.0, tis + 0.01)) if seeds > 1 else None
    return Verdict(name, epoch, dice, tis, interval, best - dice, float(spent), (), near)


def summed(found: Sequence[Judged], left: Sequence[str] = (), confidence: float = 0.95) -> Analysis:
    by_name = [{v.selector: v for v in one.verdicts} for one in found if one.verdicts]
    names = list(dict.fromkeys(v.selector for one in found for v in one.verdicts))
    order = ("offline", "online", "source-accuracy", "none", "full", "random", "oracle")
    ordered = [*(n for n in order if n in names), *(n for n in names if n.startswith("fixed-"))]
    lengths = {0: "none", **{int(name.split("-")[1]): name for name in names if name.startswith("fixed-")}}
    curve = {length: _mean(by_name, name) for length, name in sorted(lengths.items())}
    summaries = [_summary(name, [one[name] for one in by_name if name in one], curve) for name in ordered]
    for one in by_name:
        for name in [name for name in ("offline", "online") if name in one]:
            cost = float(np.mean([row[name].spent for row in by_name if name in row]))
            own = [one[lengths[length]].tis for length in curve]
            one[f"{name} at cost"] = replace(one["random"], tis=float(np.interp(cost, list(curve), own)))
    pairs = [(a, b) for a in ("offline", "online") for b in ("none", "full", "random", f"{a} at cost") if a in names]
    contrasts = [
        _contrast(a, b, [(one[a].tis, one[b].tis) for one in by_name if a in one and b in one], len(pairs)) for a, b in pairs
    ]
    return Analysis(tuple(found), tuple(summaries), tuple(contrasts), tuple(left), confidence, 2000, 7)


def _mean(rows: list[dict[str, Verdict]], name: str) -> float:
    return float(np.mean([one[name].tis for one in rows if name in one]))


def _interval(values: Sequence[float]) -> tuple[float, float]:
    middle, error = float(np.mean(values)), 2 * float(np.std(values)) / len(values) ** 0.5
    return middle - error, middle + error


def _summary(name: str, chosen: Sequence[Verdict], curve: dict[int, float]) -> Summary:
    tis, cost = [v.tis for v in chosen], float(np.mean([v.spent for v in chosen]))
    near = [v.within_noise for v in chosen if v.within_noise is not None]
    return Summary(
        name, len(chosen), float(np.mean(tis)), _interval(tis) if len(tis) > 1 else None, min(tis),
        float(np.mean([v.regret for v in chosen])), cost, sum(near) / len(near) if near else None,
        float(np.interp(cost, list(curve), list(curve.values()))) if curve else None,
    )  # fmt: skip


def _contrast(first: str, second: str, pairs: Sequence[tuple[float, float]], count: int) -> Contrast:
    differences = [a - b for a, b in pairs]
    low, high = _interval(differences)
    p = max(0.0002, 2.0 ** (1 - len(pairs))) if low > 0 or high < 0 else 0.4
    wins = sum(d > 1e-12 for d in differences)
    losses = sum(d < -1e-12 for d in differences)
    second = "fixed at equal cost" if second.endswith("at cost") else second
    return Contrast(first, second, len(pairs), float(np.mean(differences)), (low, high), p, min(1.0, p * count), wins, losses)


def build(count: int = 2, seeds: int = 2, epochs: Sequence[int] = LENGTHS, **fields: str) -> Analysis:
    rng = np.random.default_rng(5)
    grid = list(product(("acdc", "covid-qu", "idrid"), ("unet", "resnet50", "swin"), ("simple", "advanced"), ("full", "decoder")))
    found = []
    for place in range(count):
        target, encoder, origin, mode = grid[place % len(grid)]
        made = configuration(epochs, seeds, rng, **{"target": target, "encoder": encoder, "origin": origin, "mode": mode, **fields})
        made.label = f" [source {place // len(grid)}]" if place >= len(grid) else ""
        found.append(judged(made))
    return summed(found)


@pytest.fixture(scope="session")
def make() -> Make:
    """Give the maker of analyses: how many configurations, seeds, epochs."""
    return build


@pytest.fixture(scope="session")
def small() -> Analysis:
    return build(2, 2, (0, 1, 5, 10))


@pytest.fixture(scope="session")
def paperlike() -> Analysis:
    return build(36, 5)


@pytest.fixture(scope="session")
def broken() -> Analysis:
    """Give what a store half full gives: nothing scored, one seed, a lost epoch, names with signs of HTML, nothing to choose."""
    rng = np.random.default_rng(3)
    made = [configuration((0, 1, 5, 10), 1, rng, encoder=name) for name in ("<b>unet</b> & co", "x" * 90, "flat")]
    unscored: dict[str, Any] = {"robustness": {}, "setting": "", "score_run": "", "accuracy": {}}
    first, second, third = (replace(judged(one), configuration=replace(one, **unscored)) for one in made)
    plain = tuple(replace(point, robustness=None, robustness_interval=None, accuracy=None) for point in first.checkpoints)
    kept = tuple(v for v in first.verdicts if v.selector not in ("offline", "online", "source-accuracy"))
    first = replace(first, checkpoints=plain, verdicts=kept, correlations={})
    lost = replace(second.configuration, dice={key: value for key, value in second.configuration.dice.items() if key[0] != 5})
    second = replace(second, configuration=lost, checkpoints=second.checkpoints[:2], verdicts=(), correlations={},
                     reason="incomplete: the best checkpoint is unknown while fine-tunings are missing")  # fmt: skip
    third = replace(third, checkpoints=(), verdicts=(), correlations={}, reason="all checkpoints have the same mean Dice, 0.000")
    return summed([first, second, third], ["<script>alert(1)</script>: 1 of 4 epochs fine-tuned"])
