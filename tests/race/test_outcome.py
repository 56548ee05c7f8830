"""What a race says of made-up scores: whether the winner is better by the patients alone or by the seeds, too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medtransfer.analysis.halving import Rung
from medtransfer.race.contest import compete
from medtransfer.race.entrants import Entrant
from medtransfer.race.outcome import Race
from medtransfer.race.tables import by_score
from medtransfer.race.verdict import verdict
from medtransfer.tasks import TASKS
from medtransfer.tryouts.scores import Scores

PATIENTS = 30


def race(by_seed: np.ndarray, rng: np.random.Generator) -> Race:
    """Return a race of one rung between candidates, from scores by seed (C, S) that hardly differ by patient."""
    count, seeds = by_seed.shape
    table = by_seed[..., None] + rng.normal(0, 0.1, PATIENTS) + rng.normal(0, 0.01, (count, seeds, PATIENTS))
    without = (table.sum(axis=2, keepdims=True) - table) / (PATIENTS - 1)
    scores = Scores(table.mean(axis=2), without).mean_over_seeds()
    heats = compete(count, [Rung(count, 15)], 10**6, lambda indices, epochs: scores)
    entrants = [Entrant(f"c{number}", "unet", "simple", number + 1, str(number)) for number in range(count)]
    return Race(
        "moon", "full", TASKS["segmentation"].primary, entrants, [Rung(count, 15)], 10**6, list(range(seeds)), heats, 0.6,
        [Path("winner")] * seeds, PATIENTS, 0.0, None, 0.95, 500, 0, 0.1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("by_seed", "said"),
    [
        ([[0.7], [0.6]], "By the validation patients it is better than all others of the last rung; how much one training differs"),
        ([[0.7, 0.701, 0.702], [0.6, 0.601, 0.602]], "By the validation patients and the seeds it is better than all others"),
        ([[0.8, 0.7], [0.6, 0.7]], "Not distinguished from it: c1; two seeds say little about others."),
        ([[0.9, 0.7, 0.5], [0.5, 0.6, 0.7]], "Not distinguished from it: c1."),
    ],
)
def test_seeds_count_beside_patients(by_seed: list[list[float]], said: str) -> None:
    assert verdict(race(np.array(by_seed), np.random.default_rng(0)))[1].startswith(said)


@pytest.mark.parametrize("seeds", [2, 3])
def test_equal_candidates_of_noisy_training_are_seldom_told_apart(seeds: int) -> None:
    rng = np.random.default_rng(1)
    alone = [not race(rng.normal(0.6, 0.02, (3, seeds)), rng).rivals for _ in range(200)]
    assert np.mean(alone) < 0.08  # more than .4 where the patients alone are asked


def test_of_equal_candidates_the_earlier_is_listed_first() -> None:
    equal = race(np.array([[0.6], [0.6], [0.7]]), np.random.default_rng(1))
    (heat,) = equal.heats
    values = np.array([17 / 18 - 1e-16, 17 / 18 + 1e-16, 0.95])  # as means of AUCs in two orders
    assert values[0] < values[1]
    tied = replace(equal, heats=[replace(heat, scores=replace(heat.scores, values=values))])
    assert by_score(tied, tied.last) == [2, 0, 1]


def test_a_mean_of_seeds_at_the_limit_learned_nothing_whatever_the_rounding() -> None:
    """The mean of three .1 is 0.10000000000000002, and the limit is .1."""
    scores = Scores(np.full((2, 3), 0.1), np.empty((2, 3, 0))).mean_over_seeds()
    heats = compete(2, [Rung(2, 15)], 10**6, lambda indices, epochs: scores)
    at_limit = replace(race(np.full((2, 3), 0.6), np.random.default_rng(0)), heats=heats)
    assert at_limit.value(at_limit.last, 0) > 0.1
    assert verdict(at_limit)[0].startswith("Nobody wins")
