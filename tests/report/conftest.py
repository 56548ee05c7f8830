"""Analyses of pools made by hand: small, like the paper's, broken, single-seeded."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from medtransfer.analysis.evidence import gather
from medtransfer.analysis.judge import judge
from medtransfer.analysis.model import Analysis, Judged, Sampling
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.summary import analyse, mean_over, summarise
from medtransfer.tasks import TASKS

LENGTHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
SAMPLING = Sampling(draws=100, confidence=0.95, seed=7, margin=0.01, least=0.1)
GRID = list(product(("acdc", "covid-qu", "idrid"), ("unet", "resnet50", "swin"), ("simple", "advanced"), ("full", "decoder")))
Make = Callable[..., Analysis]


def pool(epochs: Sequence[int], seeds: int, rng: np.random.Generator, **fields: str) -> Pool:
    """Make a series whose Dice and robustness rise with the epoch, with noise."""
    named = {"source": "imagenet", "origin": "simple", "encoder": "unet", "target": "acdc", "mode": "full", **fields}
    height, gain = rng.uniform(0.6, 0.9), rng.uniform(0.02, 0.12)
    rise = np.array([1 - np.exp(-epoch / 30) for epoch in epochs])
    means = height - gain * (1 - rise) + rng.normal(0, 0.006, len(epochs))
    robustness = 0.7 + 0.2 * rise + rng.normal(0, 0.02, len(epochs))
    dice = {
        (epoch, 123124 + seed): float(mean + rng.normal(0, 0.008)) for epoch, mean in zip(epochs, means, strict=True)
        for seed in range(seeds)
    }  # fmt: skip
    scores = {"robustness": robustness.tolist(), "source_accuracy": (0.75 * rise).tolist()}
    return Pool(
        named, {"pretraining": "8f3a0c11", "data": "b2d4e6f8", "protocol": "paper-00"}, dice,
        {name: dict(zip(epochs, values, strict=True)) for name, values in scores.items()}, tuple(epochs),
        TASKS["segmentation"].primary, setting="cosine, margin 0.5, level -2, 200 images, flattened",
        runs=tuple(f"{int(rng.integers(2**60)):032x}" for _ in dice),
    )  # fmt: skip


@cache
def judged(number: int, seeds: int, epochs: Sequence[int]) -> Judged:
    """Judge the pool of this number, and give each robustness an interval and a rise as stored distances would."""
    target, encoder, origin, mode = GRID[number]
    made = pool(epochs, seeds, np.random.default_rng(number), target=target, encoder=encoder, origin=origin, mode=mode)
    found = judge(made, SAMPLING)
    candidates = [
        replace(
            c, score_intervals={"robustness": (c.scores["robustness"] - 0.012, c.scores["robustness"] + 0.012)},
            rise=(0.02, 0.004) if c.key else None,
        )
        for c in found.candidates
    ]  # fmt: skip
    return replace(found, candidates=tuple(candidates))


def build(count: int = 2, seeds: int = 2, epochs: Sequence[int] = LENGTHS) -> Analysis:
    """Analyse many pools; beyond those of GRID they are the same under another label."""
    pools = [judged(number % len(GRID), seeds, epochs) for number in range(count)]
    labels = [f" [source {number // len(GRID)}]" if number >= len(GRID) else "" for number in range(count)]
    named = [replace(one, pool=replace(one.pool, label=label)) for one, label in zip(pools, labels, strict=True)]
    return Analysis(tuple(named), *summarise(named, SAMPLING), gather(named, SAMPLING, mean_over), (), SAMPLING)


@pytest.fixture(scope="session")
def make() -> Make:
    """Return the maker of analyses: how many pools, seeds, epochs."""
    return build


@pytest.fixture(scope="session")
def small() -> Analysis:
    return build(2, 2, (0, 1, 5, 10))


@pytest.fixture(scope="session")
def paperlike() -> Analysis:
    return build(36, 5)


@pytest.fixture(scope="session")
def broken() -> Analysis:
    """Analyse a half-filled store: nothing scored, one seed, a lost epoch, names with signs of HTML, nothing learned."""
    rng = np.random.default_rng(3)
    unscored: dict[str, Any] = {"scores": {}, "setting": ""}
    names = ("<b>unet</b> & co", "x" * 90, "flat")
    first, second, third = (replace(pool((0, 1, 5, 10), 1, rng, encoder=name), **unscored) for name in names)
    second = replace(second, outcome={key: value for key, value in second.outcome.items() if key[0] != 5})
    third = replace(third, outcome=dict.fromkeys(third.outcome, 0.0))
    return analyse([first, second, third], ["<script>alert(1)</script>: 1 of 4 epochs fine-tuned"], SAMPLING)
