"""What every entry of SELECTORS promises, and choices and costs worked out by hand."""

import pickle
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from matplotlib.markers import MarkerStyle

from medtransfer.indicators.registry import INDICATORS
from medtransfer.metrics.transfer import Key
from medtransfer.selectors.marks import Mark
from medtransfer.selectors.rules import RULES, Choice
from medtransfer.selectors.selectors import CONTRASTED, EQUAL_COST, SELECTORS, Selector, by_score, fixed, selectors_for

every_selector = pytest.mark.parametrize("name", SELECTORS)


@dataclass(frozen=True)
class Pool:
    """A pool by hand."""

    means: dict[Key, float]
    scores: dict[str, dict[Key, float]] = field(default_factory=dict)
    unfit: dict[str, frozenset[Key]] = field(default_factory=dict)
    common_seeds: tuple[int, ...] = (1, 2, 3)

    @property
    def candidates(self) -> tuple[Key, ...]:
        return tuple(self.means)

    @property
    def is_series(self) -> bool:
        return all(isinstance(candidate, int) for candidate in self.means)


NEEDED = {selector.needs for selector in SELECTORS.values() if selector.needs}
RISING: dict[Key, float] = {0: 0.9, 1: 0.1, 5: 0.3, 10: 0.2, 20: 0.8}  # the walk after epoch 0 stops at 10
SERIES = Pool({0: 0.4, 1: 0.5, 5: 0.8, 10: 0.6, 20: 0.7}, dict.fromkeys(NEEDED, RISING))
ENCODERS = Pool({"convnext": 0.6, "swin": 0.8, "vit": 0.7}, dict.fromkeys(NEEDED, {"convnext": 0.1, "swin": 0.2, "vit": 0.3}))
FURTHER = [selector.name for selector in SELECTORS.values() if selector.further and selector.needs]
TRIALS = {"one-each": True, "one-each-last5": False, "two-seeds": True, "race": True}  # whether it can choose in SERIES
BY_HAND = {  # choice and epochs spent in SERIES; whether it can choose among ENCODERS
    "offline": (Choice(0), 20, True), "online": (Choice(5, stopped_at=10), 10, False),
    "online-keep-stop": (Choice(10, stopped_at=10), 10, False), "source-accuracy": (Choice(0), 20, True),
    "none": (Choice(0), 0, False), "full": (Choice(20), 20, False), "random": (Choice(None), 7.2, True),
    "oracle": (Choice(5), 20, True), "history": (Choice(0), 20, True),
    **{name: (Choice(None) if can else None, 20, can and name != "race") for name, can in TRIALS.items()},
    **{name: (Choice(1 if name == "twonn" else 0), 20, True) for name in FURTHER},  # fewer dimensions are better
}  # fmt: skip


def test_every_selector_is_worked_out_by_hand() -> None:
    assert BY_HAND.keys() == SELECTORS.keys()


@every_selector
def test_choice_and_cost_in_a_series(name: str) -> None:
    choice = SELECTORS[name].choose(SERIES)
    if choice is None:
        assert BY_HAND[name][0] is None
        return
    assert (choice, SELECTORS[name].spent(SERIES, choice)) == BY_HAND[name][:2]


@every_selector
def test_choices_among_encoders_cost_no_pretraining(name: str) -> None:
    """Selectors that need an order or epochs choose in series only."""
    choice = SELECTORS[name].choose(ENCODERS)
    assert (choice is not None) == BY_HAND[name][2]
    if choice is not None:
        assert choice.candidate in (None, "swin", "vit", *(["convnext"] if name == "twonn" else []))
        assert SELECTORS[name].spent(ENCODERS, choice) == 0


@pytest.mark.parametrize("name", [s.name for s in SELECTORS.values() if s.needs and s.needs != "outcome"])
def test_a_score_is_needed_of_every_pretrained_candidate(name: str) -> None:
    scores = dict(RISING)
    del scores[0]
    choice = SELECTORS[name].choose(Pool(SERIES.means, dict.fromkeys(NEEDED, scores)))
    assert choice is not None and choice.candidate != 0
    del scores[10]
    assert SELECTORS[name].choose(Pool(SERIES.means, dict.fromkeys(NEEDED, scores))) is None
    assert SELECTORS[name].choose(Pool(SERIES.means)) is None
    assert SELECTORS[name].choose(Pool(ENCODERS.means, dict.fromkeys(NEEDED, {"vit": 0.3}))) is None


@pytest.mark.parametrize("name", [s.name for s in SELECTORS.values() if s.needs in INDICATORS])
def test_a_selector_knows_which_direction_of_its_indicator_is_better(name: str) -> None:
    selector = SELECTORS[name]
    assert (selector.sign == 1) == INDICATORS[str(selector.needs)].higher_is_better


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if not rule.needs])
def test_lower_scores_may_be_better(rule: str) -> None:
    words = ("uniformity", "uniformity", "uniformity", "the lowest uniformity")
    higher, lower = (by_score(words[0], "s", rule, *words[1:], Mark("red", "o"), higher_is_better=up) for up in (True, False))
    negated = {candidate: -score for candidate, score in RISING.items()}
    assert lower.choose(Pool(SERIES.means, {"s": negated})) == higher.choose(Pool(SERIES.means, {"s": RISING}))
    assert lower.choose(Pool(SERIES.means, {"s": RISING})) != higher.choose(Pool(SERIES.means, {"s": RISING}))


@every_selector
def test_a_selector_has_words_and_a_mark_of_its_own(name: str) -> None:
    selector = SELECTORS[name]
    assert selector.name == name
    assert all((selector.label, selector.phrase, selector.meaning))
    assert selector.mark.marker in MarkerStyle.markers
    others = [other for other in SELECTORS.values() if other is not selector]
    assert selector.label not in {other.label for other in others}
    others = [other for other in others if not (other.further and selector.further)]
    assert (selector.mark.colour, selector.mark.marker) not in {(other.mark.colour, other.mark.marker) for other in others}


def test_contrasts_are_with_baselines() -> None:
    assert [selector.name for selector in CONTRASTED] == ["offline", "online"]
    assert all(opponent.baseline for selector in CONTRASTED for opponent in selector.against)
    assert EQUAL_COST in SELECTORS["online"].against
    assert EQUAL_COST not in SELECTORS["offline"].against  # costs as much as the last checkpoint, which it is compared with
    assert SELECTORS["full"] in SELECTORS["offline"].against
    assert EQUAL_COST.choose(SERIES) is None  # its length depends on all pools


def test_fixed_lengths() -> None:
    ten = fixed(10)
    assert (ten.name, ten.label, ten.length, ten.baseline) == ("fixed-10", "always epoch 10", 10, True)
    assert ten.choose(SERIES) == Choice(10)
    assert ten.spent(SERIES, Choice(10)) == 10
    assert fixed(7).choose(SERIES) is None
    assert ten.choose(ENCODERS) is None
    assert ten == fixed(10) != fixed(20)


def test_a_series_is_also_judged_by_its_fixed_lengths() -> None:
    assert [s.name for s in selectors_for(SERIES)] == [*SELECTORS, "fixed-1", "fixed-5", "fixed-10", "fixed-20"]
    assert [s.name for s in selectors_for(ENCODERS)] == list(SELECTORS)


@pytest.mark.parametrize("selector", [*SELECTORS.values(), fixed(7)], ids=lambda selector: selector.name)
def test_a_selector_is_pickled_by_name(selector: Selector) -> None:
    again = pickle.loads(pickle.dumps(selector))
    assert again == selector and (again is selector or selector.length == 7)


@pytest.mark.parametrize("changed", [{"name": "mine"}, {"label": "mine"}, {"name": "mine", "length": 7}])
def test_a_selector_that_is_not_registered_is_not_pickled(changed: dict[str, Any]) -> None:
    with pytest.raises(pickle.PicklingError, match="neither one of SELECTORS nor a fixed length"):
        pickle.dumps(replace(SELECTORS["offline"], **changed))
