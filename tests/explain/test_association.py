"""Associations within configurations: by residuals of ranks, where robustness is a function of the epoch, and where it is not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from medtransfer.explain import page
from medtransfer.explain.association import associate
from medtransfer.explain.cases import Cases
from medtransfer.explain.explanation import Explanation, verdict
from medtransfer.explain.quantities import CKA, QUANTITIES, ROBUSTNESS
from medtransfer.metrics.comparison import ClusterMean, correlation_interval

EPOCHS = (0, 1, 5, 20, 50, 100, 150, 200, 250, 300)
SMALL = EPOCHS[:6]


def by_epoch(values: Any, epochs: tuple[int, ...] = EPOCHS) -> dict[int, float]:
    return dict(zip(epochs, map(float, values), strict=True))


def residuals(values: Any, epochs: tuple[int, ...]) -> Any:
    ranks, order = stats.rankdata(values), np.arange(len(epochs))
    return ranks - np.polyval(np.polyfit(order, ranks, 1), order)


def test_partial_correlations_are_those_of_residuals_of_ranks(make_case: Any) -> None:
    """Epoch 0 takes no part; two configurations are averaged; a quantity is compared with robustness, too."""
    rng = np.random.default_rng(0)
    drawn = [{name: rng.random(6) for name in ("dice", ROBUSTNESS, CKA)} for _ in range(2)]
    cases = [
        make_case(
            {epoch: (value,) for epoch, value in by_epoch(draw["dice"], SMALL).items()},
            {(name, -2): by_epoch(draw[name], SMALL) for name in (ROBUSTNESS, CKA)}, mode=mode,
        )
        for draw, mode in zip(drawn, ("full", "decoder"), strict=True)
    ]  # fmt: skip
    associations = associate(cases)

    def mean(formula: Callable[[dict[str, Any]], float]) -> Any:
        return pytest.approx(np.mean([formula({name: values[1:] for name, values in draw.items()}) for draw in drawn]))

    for name in (ROBUSTNESS, CKA):
        row = associations.find(name, -2)
        assert row is not None and row.given_epoch is not None and row.configurations == 2
        assert row.outcome.value == mean(lambda d, n=name: stats.spearmanr(d[n], d["dice"]).statistic)
        assert row.given_epoch.value == mean(
            lambda d, n=name: np.corrcoef(residuals(d[n], SMALL[1:]), residuals(d["dice"], SMALL[1:]))[0, 1]
        )
    cka = associations.find(CKA, -2)
    assert cka is not None and cka.robustness is not None
    assert cka.robustness.value == mean(
        lambda d: np.corrcoef(residuals(d[CKA], SMALL[1:]), residuals(d[ROBUSTNESS], SMALL[1:]))[0, 1]
    )
    assert associations.epoch is not None and associations.epochs == 5
    assert associations.epoch.value == mean(lambda d: stats.spearmanr(np.arange(5), d["dice"]).statistic)


def simulated(make_case: Any, direct: float, seed: int, speed: float = 0.1) -> Explanation:
    """Make 36 configurations in which Dice and robustness both rise with the epoch, and Dice with robustness's own noise, too.

    The rise is about linear over the checkpoints at a low speed, and over early at a high one.
    """
    rng = np.random.default_rng(seed)
    rise = np.expm1(-speed * np.linspace(0, 1, 10)) / np.expm1(-speed)
    cases = []
    for encoder in map(str, range(12)):
        for target in ("moon", "sun", "star"):
            own = rng.normal(0, 0.15, 10)
            dice = 0.6 + 0.1 * (rise + direct * own + rng.normal(0, 0.2, 10))
            values = {(ROBUSTNESS, -2): by_epoch(0.7 + 0.2 * (rise + own))}
            cases.append(make_case({epoch: (value,) for epoch, value in by_epoch(dice).items()}, values, encoder, target))
    return Explanation.of(Cases(tuple(cases), -2, ()), 0.95)


@pytest.mark.parametrize(("speed", "biased"), [(0.1, False), (8.0, True)])
def test_robustness_that_only_follows_the_epoch_has_nothing_left_without_it(make_case: Any, speed: float, biased: bool) -> None:
    explanations = [simulated(make_case, 0.0, seed, speed) for seed in range(6)]
    rows = [explanation.robustness for explanation in explanations if explanation.robustness]
    given = [row.given_epoch.value for row in rows if row.given_epoch]
    removed = [row.epoch_removed.value for row in rows if row.epoch_removed]
    assert len(given) == len(removed) == 6 and min(row.outcome.value for row in rows) > 0.2
    assert np.mean(removed) == pytest.approx(0, abs=0.06)
    assert (np.mean(given) > 0.1) == biased  # why the partial correlation alone is no proof
    shown = ["it is not shown that robustness tells more" in verdict(explanation) for explanation in explanations]
    assert sum(shown) >= 5  # an interval of 95 % misses now and then


def test_the_mean_course_by_hand(make_case: Any) -> None:
    """Ranks of robustness 1234, 2134, 1234 and of Dice 1234, 2134, 1243: what is left of the mean course, and correlates."""
    orders = [((1, 2, 3, 4), (1, 2, 3, 4)), ((2, 1, 3, 4), (2, 1, 3, 4)), ((1, 2, 3, 4), (1, 2, 4, 3))] * 2
    cases = [
        make_case({e: (0.1 * v,) for e, v in zip((1, 5, 10, 20), dice, strict=True)},
                  {(ROBUSTNESS, -2): dict(zip((1, 5, 10, 20), robustness, strict=True))}, encoder=str(index))
        for index, (robustness, dice) in enumerate(orders)
    ]  # fmt: skip
    row = associate(cases).find(ROBUSTNESS, -2)
    assert row is not None and row.epoch_removed is not None
    x, y = (np.array(side) - np.mean(side, axis=0) for side in zip(*orders, strict=True))
    assert row.epoch_removed.value == pytest.approx(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]))
    other = make_case({1: (0.4,), 5: (0.3,), 10: (0.2,), 20: (0.1,)}, cases[0].values, encoder="6", mode="decoder")
    mixed = associate([*cases, other]).find(ROBUSTNESS, -2)
    assert mixed is not None and mixed.epoch_removed == row.epoch_removed  # another mode has another course
    few = associate(cases[:5]).find(ROBUSTNESS, -2)  # what is left of one would be much of another's
    assert few is not None and few.epoch_removed is None
    alone = associate(cases[:1]).find(ROBUSTNESS, -2)
    assert alone is not None and alone.epoch_removed is None and alone.p_value is None


def test_robustness_that_tells_more_than_the_epoch_is_found(make_case: Any) -> None:
    explanation = simulated(make_case, 2.0, 0)
    assert explanation.robustness is not None and explanation.robustness.given_epoch is not None
    assert explanation.robustness.given_epoch.value > 0.5
    assert "So robustness tells something about Dice that the epoch does not." in verdict(explanation)


def test_a_quantity_in_the_order_of_the_epochs_is_counted_and_has_no_partial_correlation(make_case: Any) -> None:
    dice = {epoch: (value,) for epoch, value in by_epoch([0.1, 0.3, 0.2, 0.5, 0.4, 0.6], SMALL).items()}
    row = associate([make_case(dice, {(CKA, -1): by_epoch(np.sqrt(SMALL), SMALL)})]).find(CKA, -1)
    assert row is not None and (row.given_epoch, row.follows_epoch, row.p_holm) == (None, 1, None)
    assert row.outcome.value == pytest.approx(0.8)
    assert row.outcome.interval(0.95) is None  # one cluster


def test_too_few_partial_correlations_are_not_tested_though_there_are_enough_pretrainings(make_case: Any) -> None:
    """Six pretrainings of one target, in half of which Dice rises with every epoch; no interval leaves [-1, 1]."""
    rng = np.random.default_rng(5)
    courses = [np.arange(10.0) if index % 2 else rng.permutation(10) for index in range(6)]
    cases = [
        make_case({epoch: (value,) for epoch, value in by_epoch(course).items()},
                  {(ROBUSTNESS, -2): by_epoch(course + rng.normal(0, 0.1, 10) * (index % 2 == 0))}, encoder=str(index))
        for index, course in enumerate(courses)
    ]  # fmt: skip
    explanation = Explanation.of(Cases(tuple(cases), -2, ()), 0.95)
    row = explanation.robustness
    assert row is not None and row.given_epoch is not None and (row.follows_epoch, row.p_value) == (3, None)
    text = verdict(explanation)
    assert "not tested against chance: it takes 6 pretrainings or targets" in text
    assert "nothing is left in 3 of 6 configurations, in which one side has exactly the order of the epochs." in text
    assert correlation_interval(ClusterMean(0.9, 0.2, 5, 6, ("pretraining",)), 0.95) == (
        pytest.approx(0.9 - 2.5706 * 0.2, abs=1e-4),
        1.0,
    )


@pytest.mark.parametrize("epochs", [SMALL[:4], SMALL])
def test_few_checkpoints_decide_nothing(make_case: Any, epochs: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    dice = {epoch: (value,) for epoch, value in by_epoch(rng.random(len(epochs)), epochs).items()}
    case = make_case(dice, {(ROBUSTNESS, -2): by_epoch(rng.random(len(epochs)), epochs)})
    text = verdict(Explanation.of(Cases((case,), -2, ()), 0.95))
    assert "cannot be said" in text or "not tested" in text


def test_statistics_and_pictures_show_progress(make_case: Any, terminal: Callable[[], str]) -> None:
    explanation = simulated(make_case, 0.0, 0)
    shown = terminal()
    assert "explain: steps" in shown and "/36" in shown, "one step of the bar per configuration"
    assert "explain: associations" in shown and f"/{len(QUANTITIES)}" in shown, "and per quantity, here at one level"
    page.render(replace(explanation, cases=explanation.cases[:2]))
    shown = terminal()
    assert "explain: drawing for the page" in shown and "/2" in shown


@pytest.mark.parametrize(
    ("groups", "title"), [(4, None), (5, "The other pretraining and target<"), (6, "The other 2 pretrainings")]
)
def test_pictures_that_are_folded_are_counted(groups: int, title: str | None, make_case: Any, monkeypatch: Any) -> None:
    explanation = simulated(make_case, 0.0, 0)
    monkeypatch.setattr(page, "groups", lambda _: [explanation.cases[:1]] * groups)
    monkeypatch.setattr(page, "draw_svg", lambda *_: "")
    text = str(page._pictures(explanation))
    assert ("The other" in text) == (title is not None) and (title or "") in text
