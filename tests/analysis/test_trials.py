"""Choices by fine-tuning first, against plain Python over every order of the seeds."""

from itertools import permutations
from math import inf
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from tests.analysis.test_judge import SAMPLING, pool
from tests.report.test_report import CELL

from medtransfer import tracking
from medtransfer.analysis import trials
from medtransfer.analysis.halving import plan_rungs
from medtransfer.analysis.judge import judge
from medtransfer.analysis.pools import collect
from medtransfer.analysis.summary import analyse
from medtransfer.analysis.trials import highest_tis, outcomes_of_choices
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.selectors.trials import ETA, race

pytestmark = pytest.mark.long

Dice = dict[int, tuple[float, ...]]


def by_enumeration(dice: Dice, rungs: tuple[int, ...], seen: Dice | None = None) -> tuple[float, float]:
    """Return the mean outcome of the choices and their TIS."""
    seen, seeds = seen or dice, range(len(next(iter(dice.values()))))
    outcomes = []
    for order in permutations(seeds, len(rungs)):
        left = sorted(dice)[-rungs[0] :]
        for rung in range(len(rungs)):
            seats = rungs[rung + 1] if rung + 1 < len(rungs) else 1
            left = sorted(left, key=lambda key: -fmean(seen[key][seed] for seed in order[: rung + 1]))[:seats]
        outcomes.append(fmean(dice[left[0]][seed] for seed in seeds if seed not in order))
    return fmean(outcomes), fmean(outcomes) / max(map(fmean, dice.values()))


def random_dice(candidates: int, seeds: int, seed: int = 0) -> Dice:
    values = np.random.default_rng([candidates, seeds, seed]).normal(0.8, 0.02, (candidates, seeds))
    return {10 * key: tuple(row) for key, row in enumerate(values.tolist())}


@pytest.mark.parametrize("seeds", [2, 3, 4, 5])
@pytest.mark.parametrize("candidates", [2, 4, 6, 10])
def test_every_order_of_the_seeds_is_a_repetition(candidates: int, seeds: int) -> None:
    dice = random_dice(candidates, seeds)
    plans = {"one-each": (candidates,)}
    plans |= {"one-each-last5": (5,)} if candidates > 5 else {}
    plans |= {"two-seeds": (candidates, candidates)} if seeds > 2 else {}
    races = {4: (4, 2), 6: (6, 2), 10: (10, 4, 2)}
    plans |= {"race": races[candidates][: seeds - 1]} if candidates > 2 and seeds > 2 else {}
    judged = judge(pool(dice, dict.fromkeys(dice, 0.5)), SAMPLING)
    found = {verdict.selector.name: verdict for verdict in judged.verdicts if verdict.selector.trial}
    assert found.keys() == plans.keys()
    for name, rungs in plans.items():
        mean, tis = by_enumeration(dice, rungs)
        verdict = found[name]
        assert (verdict.mean, verdict.tis) == pytest.approx((mean, tis))
        assert verdict.regret == pytest.approx(max(map(fmean, dice.values())) - mean)
        assert (verdict.fine_tunings, verdict.spent) == (sum(rungs), 10 * (candidates - 1))
        assert (verdict.candidate, verdict.interval, verdict.within_noise) == (None, None, None)


def test_a_race_by_hand() -> None:
    """The first seed leaves two of four, the mean of two seeds decides, the third one judges."""
    outcomes = np.array([[0.9, 0.1, 0.6], [0.8, 0.7, 0.65], [0.1, 0.9, 0.3], [0.2, 0.5, 0.95]])
    by_order = {  # candidates that are left, and the choice
        (0, 1): 0.65,  # 0 and 1, 1
        (0, 2): 0.1,  # 0 and 1, 0
        (1, 0): 0.65,  # 2 and 1, 1
        (1, 2): 0.8,  # 2 and 1, 1
        (2, 0): 0.7,  # 3 and 1, 1
        (2, 1): 0.2,  # 3 and 1, 3
    }
    assert outcomes_of_choices(outcomes, outcomes, (4, 2)) == pytest.approx(list(by_order.values()))


@pytest.mark.parametrize("most", [1, 20, 100])
def test_orders_are_taken_a_few_at_a_time(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand seeds took 7 GiB."""
    outcomes = np.random.default_rng(3).normal(size=(4, 5))
    whole = outcomes_of_choices(outcomes, outcomes, (4, 2))
    sizes, of_some = list[int](), trials._outcomes
    monkeypatch.setattr(trials, "_outcomes", lambda *args: sizes.append(len(args[-1])) or of_some(*args))
    monkeypatch.setattr(trials, "MOST_VALUES", most)
    assert len(whole) == 20 and outcomes_of_choices(outcomes, outcomes, (4, 2)).tolist() == whole.tolist()
    assert max(sizes) == max(1, most // 8)  # four candidates in two rungs


def test_of_very_many_orders_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their mean is that of all but for chance, and does not depend on how many are taken at a time."""
    outcomes = np.random.default_rng(4).normal(size=(6, 9))
    every = outcomes_of_choices(outcomes, outcomes, (6, 2))
    monkeypatch.setattr(trials, "MOST_ORDERS", 71)
    drawn = outcomes_of_choices(outcomes, outcomes, (6, 2))
    monkeypatch.setattr(trials, "MOST_VALUES", 40)
    assert (len(every), len(drawn)) == (72, 71) and outcomes_of_choices(outcomes, outcomes, (6, 2)).tolist() == drawn.tolist()
    assert set(drawn.round(9)) <= set(every.round(9))
    assert abs(drawn.mean() - every.mean()) < 4 * every.std() / np.sqrt(71)


def test_the_earlier_of_equal_candidates_wins() -> None:
    outcomes = np.array([[0.2, 0.9], [0.5, 0.8], [0.5, 0.1]])
    assert outcomes_of_choices(outcomes, outcomes, (3,)).tolist() == [0.8, 0.2]


def test_candidates_are_equal_whose_sums_differ_by_rounding_alone() -> None:
    seen = np.array([[0.3, 0.2, 0.1, 0.0], [0.1, 0.2, 0.3, 0.0]])  # .6 both, in every order of three seeds
    # Added one by one: from Python 3.12 on `sum` makes up for rounding.
    assert len({float(seen[row, a] + seen[row, b] + seen[row, c]) for row in (0, 1) for a, b, c in permutations(range(3))}) > 1
    outcomes = np.arange(8.0).reshape(2, 4)
    chosen = outcomes_of_choices(seen, outcomes, (2, 2, 2))
    judging = [({0, 1, 2, 3} - set(order)).pop() for order in permutations(range(4), 3)]
    assert {value for value, seed in zip(chosen, judging, strict=True) if seed == 3} == {3.0}  # the first candidate's


tables = st.tuples(st.integers(2, 6), st.integers(2, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=st.floats(0, 1, width=16))
)


@given(tables)
def test_a_choice_that_does_not_look_has_its_usual_mean(outcomes: NDArray[np.float64]) -> None:
    for rungs in ([len(outcomes)], [len(outcomes)] * 2)[: outcomes.shape[1] - 1]:
        blind = outcomes_of_choices(np.zeros_like(outcomes), outcomes, rungs)  # takes the first
        assert blind.mean() == pytest.approx(outcomes[0].mean())


@given(tables)
def test_fine_tuning_all_brings_no_more_than_the_best(outcomes: NDArray[np.float64]) -> None:
    """What is chosen for its high outcome on some seeds has the lower one on the others."""
    for rungs in ([len(outcomes)], [len(outcomes)] * 2)[: outcomes.shape[1] - 1]:
        assert outcomes_of_choices(outcomes, outcomes, rungs).mean() <= outcomes.mean(axis=1).max() + 1e-12


def test_luck_on_the_judging_seeds_may_bring_more_than_the_best() -> None:
    """Each seed's validation chooses the checkpoint that is the better one with the other seed."""
    luck = [0.04, 0.03, 0.05, 0.02, 0.04, 0.06]
    test = [{0: (0.3, 0.3), 5: (0.7 + x, 0.7 - x), 10: (0.7 - x, 0.7 + x)} for x in luck]
    seen = {(0, 0): 0.1, (0, 1): 0.1, (5, 0): 0.5, (5, 1): 0.6, (10, 0): 0.6, (10, 1): 0.5}
    pools = [pool(dice, {5: 0.4, 10: 0.5}, name=f"moon {index}", validation=seen) for index, dice in enumerate(test)]
    summary = analyse(pools, [], SAMPLING).by_selector["one-each"]
    tis = [(0.7 + x) / 0.7 for x in luck]
    assert summary.mean_tis == pytest.approx(fmean(tis))
    assert summary.interval == pytest.approx(tuple(stats.ttest_1samp(tis, 0).confidence_interval(SAMPLING.confidence)))


def test_only_a_trial_on_some_validation_images_may_exceed_the_best() -> None:
    dice = {0: (0.3, 0.3), 5: (0.7, 0.6), 10: (0.6, 0.7)}
    seen = {(key, seed): 0.5 for key in dice for seed in (0, 1)}
    plain, validated = pool(dice, {5: 0.4, 10: 0.5}, name="moon"), pool(dice, {5: 0.4, 10: 0.5}, name="sun", validation=seen)
    selectors = analyse([plain, validated], [], SAMPLING).by_selector
    trial, score = (selectors[name].selector for name in ("one-each", "offline"))
    assert (highest_tis([plain, validated], trial), highest_tis([plain], trial), highest_tis([validated], score)) == (inf, 1, 1)


def test_noise_brings_nothing() -> None:
    """Equal candidates, 2000 tables: on the seeds of the choice it seems far above the mean, on the others it is not."""
    outcomes = np.random.default_rng(0).normal(size=(10, 4, 2000))
    for rungs in ((10,), (10, 10), (10, 4, 2)):
        means = [outcomes_of_choices(table, table, rungs).mean() for table in np.moveaxis(outcomes, 2, 0)]
        assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(2000)


def add_fine_tunings(dice: Dice, validation: dict[int, tuple[tuple[float, ...], ...]], select: str) -> None:
    """Write fine-tunings of one configuration with their curves of validation Dice."""
    for epoch, values in dice.items():
        for seed, value in enumerate(values):
            fields = {**CELL, "epoch": epoch, "seed": seed, "select": select}
            curve = dict(enumerate(validation.get(epoch, ((),) * 9)[seed], start=1))
            with tracking.open_run("finetune", f"e{epoch}", digest(fields, 16), fields, {}) as handle:
                handle.log_curves({"validation_dice": curve} if curve else {})
                handle.log_metrics({"dice": value}, 3)


@pytest.mark.parametrize(
    ("select", "missing", "seen"),
    [
        ("last", False, {1: (0.5, 0.5), 5: (0.7, 0.7)}),
        ("validation", False, {1: (0.9, 0.9), 5: (0.8, 0.8)}),  # the best epoch's weights are kept
        ("last", True, {}),
    ],
)
def test_validation_images_choose_where_all_have_them(workplace: Path, select: str, missing: bool, seen: Dice) -> None:
    dice = {1: (0.80, 0.70), 5: (0.60, 0.75)}
    validation = {1: ((0.9, 0.5), (0.9, 0.5)), 5: ((0.8, 0.7), (0.8, 0.7))}
    add_fine_tunings(dice, {1: validation[1]} if missing else validation, select)
    ((found,), _) = collect(RobustnessSetting("cosine", 0.5, -2, "frozen"))
    assert found.validation == {(epoch, seed): value for epoch, values in seen.items() for seed, value in enumerate(values)}
    analysis = analyse([found], [], SAMPLING)
    mean, tis = by_enumeration(dice, (2,), seen or None)
    assert analysis.by_selector["one-each"].mean_tis == pytest.approx(tis)
    verdict = analysis.judged[0].by_selector["one-each"]
    assert verdict.mean == pytest.approx(mean)


@pytest.mark.parametrize("candidates", range(4, 60))
def test_a_race_by_seeds_has_the_seats_of_a_race_by_epochs(candidates: int) -> None:
    rungs = race(candidates, 99)
    assert list(rungs) == [rung.seats for rung in plan_rungs(candidates, 1, ETA, len(rungs))]
