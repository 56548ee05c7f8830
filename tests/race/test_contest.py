"""The course of a race with invented scores: who enters each rung, what is skipped, and that the budget is kept."""

import numpy as np
import pytest

from medtransfer.analysis.halving import Rung, cost_of, fit_rungs
from medtransfer.metrics.counts import OVERLAP, Counts
from medtransfer.race.contest import compete
from medtransfer.race.plots import apart
from medtransfer.tryouts.scores import Scores


class Invented:
    """Scores that grow with the epochs; notes what is asked for."""

    def __init__(self, table) -> None:
        self.table, self.asked = np.asarray(table, dtype=float), []

    def __call__(self, indices, epochs) -> Scores:
        self.asked.append((tuple(indices), epochs))
        table = self.table[list(indices)] + epochs / 1000  # (C, P)
        total, count = table.sum(axis=1, keepdims=True), table.shape[1]
        return Scores(table.mean(axis=1), (total - table) / (count - 1) if count > 1 else table[:, :0])


def clear(*means):
    return [[mean, mean] for mean in means]


def test_the_best_of_each_rung_go_on():
    measure = Invented(clear(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 0.8, 0.0))
    heats = compete(10, fit_rungs(10, 150, 3, 675), 675, measure)
    assert measure.asked == [(tuple(range(10)), 17), ((5, 6, 7, 8), 50), ((7, 8), 150)]
    assert heats[-1].stay == (7, 8) and sum(heat.cost for heat in heats) == 670
    assert [heat.seats for heat in heats] == [4, 2, 1]


def test_whoever_is_close_to_the_cut_stays_while_the_budget_lasts():
    table = [[0.9, 0.7], [0.8, 0.7], [0.72, 0.74], [0.1, 0.1]]  # means .8, .75, .73, .1; the third is close to the second
    rungs = fit_rungs(4, 15, 3, 60)
    assert [(rung.seats, rung.epochs) for rung in rungs] == [(4, 5), (2, 15)]
    kept = compete(4, rungs, 65, Invented(table))
    assert kept[1].entrants == (0, 1, 2) and kept[0].close == ()
    cut = compete(4, rungs, 64, Invented(table))
    assert cut[1].entrants == (0, 1) and cut[0].close == (2,)


def test_the_epochs_of_a_rung_that_is_skipped_are_left_for_whoever_is_close():
    """4 x 1 and 3 x 2 leave one, who runs 8 epochs: 18 in all; the rung of 4 epochs would have nobody to leave."""
    table = [[0.9, 0.7], [0.8, 0.7], [0.72, 0.74], [0.1, 0.1]]
    rungs = [Rung(4, 1), Rung(2, 2), Rung(1, 4), Rung(1, 8)]
    measure = Invented(table)
    heats = compete(4, rungs, 18, measure)
    assert measure.asked[:2] == [((0, 1, 2, 3), 1), ((0, 1, 2), 2)] and heats[0].close == ()
    assert compete(4, rungs, 17, Invented(table))[0].close == (2,)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("count", "eta", "epochs"), [(4, 2, 8), (5, 2, 16), (7, 3, 27), (3, 2, 9)])
def test_no_race_of_few_candidates_and_many_rungs_takes_more_than_its_budget(seed, count, eta, epochs):
    rng = np.random.default_rng(seed)
    table = rng.normal(0.5, 0.01, size=(count, 1)) + rng.normal(0, 0.1, size=(count, 5))
    for budget in range(cost_of(fit_rungs(count, epochs, eta, 0)), count * epochs + 1):
        heats = compete(count, fit_rungs(count, epochs, eta, budget), budget, Invented(table))
        assert sum(heat.cost for heat in heats) <= budget and heats[-1].epochs == epochs


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_no_race_takes_more_than_its_budget(seed, share):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(6, 12))
    table = rng.normal(0.5, 0.01, size=(count, 1)) + rng.normal(0, 0.1, size=(count, 5))  # most are close to each other
    budget = int(share * count * 30)
    heats = compete(count, fit_rungs(count, 30, 3, budget), budget, Invented(table))
    assert sum(heat.cost for heat in heats) <= budget
    assert heats[-1].epochs == 30 and len(heats[-1].entrants) >= 1
    for before, after in zip(heats, heats[1:], strict=False):
        assert set(after.entrants) == set(before.stay) and not set(before.close) & set(before.stay)


def test_rungs_that_cannot_change_the_answer_are_skipped():
    rungs = [Rung(9, 2), Rung(3, 6), Rung(1, 18)]
    measure = Invented(clear(0.9, 0.5, 0.4))
    heats = compete(3, rungs, cost_of(rungs), measure)  # three candidates fill the second rung: the first decides nothing
    assert measure.asked == [((0, 1, 2), 6), ((0,), 18)] and heats[-1].stay == (0,)


def test_pseudo_values_have_the_metric_as_mean_and_the_jackknife_error():
    """Counts of three patients, by hand: Dice of all and of every two."""
    counts = np.array([[[8], [1], [1], [90]], [[5], [5], [0], [90]], [[2], [0], [7], [91]]])  # (P, tp fp fn tn, classes)
    dice = OVERLAP["dice"]

    def pooled(patients):
        tp, fp, fn, tn = counts[patients].sum(axis=0)
        return dice(Counts(tp, fp, fn, tn)).mean()

    value = pooled([0, 1, 2])
    without = np.array([pooled([1, 2]), pooled([0, 2]), pooled([0, 1])])
    assert value == pytest.approx((2 * 15 + 1) / (30 + 6 + 8 + 1))
    table = Scores(np.array([value]), without[None]).by_patient[0]
    assert table.mean() == pytest.approx(value)
    jackknife = np.sqrt(2 / 3 * ((without - without.mean()) ** 2).sum())
    assert table.std(ddof=1) / np.sqrt(3) == pytest.approx(jackknife)


def test_one_patient_gives_the_value_alone():
    scores = Scores(np.array([0.3, 0.4]), np.empty((2, 0)))
    assert scores.by_patient.tolist() == [[0.3], [0.4]]


@pytest.mark.parametrize("values", [[0.9, 0.89, 0.2], [0.5, 0.5, 0.5], [0.3], [0.1, 0.1, 0.05, 0.0]])
def test_names_beside_the_picture_do_not_overlap(values):
    moved = apart(values, 0.1, low=0.0)
    assert all(before - after >= 0.1 - 1e-9 for before, after in zip(moved, moved[1:], strict=False))
    assert min(moved) >= -1e-9


def test_all_are_fine_tuned_in_full_where_rungs_would_cost_no_less() -> None:
    assert fit_rungs(2, 12, 2, 24) == [Rung(2, 12)]  # 2 x 6 and 1 x 12 would be 24 epochs, too
    assert fit_rungs(3, 12, 2, 36) == [Rung(3, 3), Rung(2, 6), Rung(1, 12)]
