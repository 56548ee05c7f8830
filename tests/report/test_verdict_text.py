"""The verdict in words: what it says, and that it never says more than the numbers."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from medtransfer.analysis.model import Analysis, Contrast, Interval, Summary
from medtransfer.report import data_notes, glossary, verdict_text
from medtransfer.report.format import between, epochs, number, probability, signed, spread
from medtransfer.selectors.selectors import EQUAL_COST, SELECTORS

Make = Callable[..., Analysis]


def summary(selector: str, tis: float, count: int, interval: Interval | None, cost: float = 300.0) -> Summary:
    return Summary(SELECTORS[selector], count, tis, interval, tis - 0.1, 0.05, cost, 0.5, 0.8)


def contrast(
    difference: float, interval: Interval, p_holm: float, count: int = 12, first: str = "offline", second: str = "full"
) -> Contrast:
    wins = count if difference > 0 else 0
    opponent = {**SELECTORS, EQUAL_COST.name: EQUAL_COST}[second]
    losses = count - wins if difference else 0
    return Contrast(SELECTORS[first], opponent, count, difference, interval, p_holm / 8, p_holm, wins, losses)


def analysis(one: Contrast, count: int = 12) -> Analysis:
    return Analysis(
        (), (summary("offline", 0.746, count, (0.44, 0.98)), summary("full", 0.9, count + 3, None)), (one,), (), 0.95, 100, 1
    )


def test_the_verdict_in_full(small: Analysis):
    assert verdict_text.verdict(replace(analysis(contrast(-0.076, (-0.2, 0.04), 0.4)), judged=small.judged)) == (
        "Over 12 configurations, choosing by robustness (offline) keeps on average 74.6 % of the best checkpoint’s Dice "
        "(95 % interval 44.0 to 98.0 %); always taking the last checkpoint keeps 82.2 %. The difference of −7.6 points "
        "(interval −20.0 to +4.0) is within noise."
    )  # 82.2 is over the same configurations; the 90 % of all 15 would compare what cannot be compared


@pytest.mark.parametrize(
    ("difference", "interval", "p_holm", "word", "said"),
    [
        (0.02, (0.01, 0.03), 0.01, "better", "is clear: robustness chose"),
        (-0.02, (-0.03, -0.01), 0.01, "worse", "is clear: the last checkpoint was"),
        (-0.02, (-0.03, -0.01), 0.06, "not told apart", "is within noise"),  # not clear after the correction
        (0.02, (-0.01, 0.05), 0.01, "not told apart", "is within noise"),  # many small wins, few large losses
        (0.02, (0.01, 0.03), 0.05, "not told apart", "is within noise"),  # not below, but at the bound
    ],
)
def test_a_difference_is_clear_only_by_both_its_p_and_its_interval(
    difference: float, interval: Interval, p_holm: float, word: str, said: str
):
    one = contrast(difference, interval, p_holm)
    assert verdict_text.outcome(one, 0.95) == word
    assert said in verdict_text.verdict(analysis(one))


def test_the_confidence_moves_the_bound():
    one = contrast(0.02, (0.01, 0.03), 0.08)
    assert (verdict_text.outcome(one, 0.95), verdict_text.outcome(one, 0.9)) == ("not told apart", "better")


def test_the_same_choices_everywhere_are_said_to_be_the_same():
    assert verdict_text.verdict(analysis(contrast(0.0, (0.0, 0.0), 1.0))).endswith("Both bring the same in every configuration.")


def test_without_the_last_checkpoint_nothing_is_compared():
    one = contrast(0.1, (0.05, 0.2), 0.01, second="none")
    assert verdict_text.verdict(analysis(one)).endswith("44.0 to 98.0 %).")


def test_every_comparison_is_sorted_by_its_outcome():
    some = replace(
        analysis(contrast(-0.02, (-0.03, -0.01), 0.01)),
        contrasts=(
            contrast(-0.02, (-0.03, -0.01), 0.01),
            contrast(0.2, (0.1, 0.3), 0.01, second="none"),
            contrast(0.1, (0.1, 0.3), 0.01, second="random"),
            contrast(0.01, (-0.1, 0.3), 0.7, second="fixed at equal cost"),
        ),
    )
    assert verdict_text.particulars(some)[0] == (
        "Choosing by robustness (offline) is clearly better than no pretraining and a random checkpoint; it is clearly worse "
        "than the last checkpoint; it cannot be distinguished from fixed lengths of equal cost."
    )


def test_one_configuration_has_its_own_interval(make: Make):
    said = verdict_text.verdict(make(1, 5))
    offline = make(1, 5).judged[0].by_selector["offline"]
    assert f"takes epoch {offline.candidate} and keeps {100 * offline.tis:.1f} %" in said
    assert said.endswith("One configuration says nothing about others.")
    assert not any("distinguished" in one for one in verdict_text.particulars(make(1, 5)))


def test_a_single_seed_is_said_and_counts_no_noise(make: Make):
    said = " ".join(verdict_text.particulars(make(9, 1)))
    assert "Every configuration has a single seed: no interval of the Dice" in said
    assert "Within noise of the best" not in said
    assert "Within noise of the best checkpoint: the choice by robustness (offline) in " in " ".join(
        verdict_text.particulars(make(9, 3))
    )


@pytest.mark.parametrize(("count", "warned"), [(2, True), (8, True), (9, False), (36, False)])
def test_too_few_configurations_for_any_clear_difference(make: Make, count: int, warned: bool):
    """With 8 comparisons, 8 x 2^(1 - n) is below 0.05 from n = 9."""
    assert any("no difference can be clear" in one for one in verdict_text.weaknesses(make(count, 5))) == warned


def test_without_robustness_only_baselines_are_described(broken: Analysis):
    said = verdict_text.verdict(broken)
    assert said.startswith("Robustness cannot be judged")
    assert "over 1 configuration: last checkpoint " in said
    assert "2 of 3 configurations could not be judged." in verdict_text.particulars(broken)


def test_nothing_judged_gives_the_reasons(broken: Analysis):
    nothing = replace(broken, judged=broken.judged[1:], summaries=(), contrasts=())
    assert verdict_text.verdict(nothing).startswith("There is no verdict, since none of the 2 configurations could be judged: ")
    assert "all checkpoints have the same mean Dice, 0.000, so every choice is the best (1)" in verdict_text.verdict(nothing)
    assert verdict_text.verdict(replace(nothing, judged=())) == "There are no configurations, so there is no verdict."
    assert verdict_text.cost(nothing) == ""


def test_configurations_without_robustness_are_counted(make: Make):
    whole = make(9, 5)
    first = whole.judged[0]
    plain = replace(first, verdicts=tuple(v for v in first.verdicts if v.selector.name not in ("offline", "online")))
    said = verdict_text.weaknesses(replace(whole, judged=(plain, *whole.judged[1:])))
    assert said == ["1 of 9 judged configurations lack robustness and say nothing about it."]


def test_the_cost_compares_with_fixed_lengths():
    some = analysis(contrast(-0.1, (-0.2, -0.1), 0.01, second="fixed at equal cost"))
    assert verdict_text.cost(some) == (
        "At equal cost: robustness (offline) spends 300 epochs for a mean TIS of 0.746, where fixed lengths of the same cost bring "
        "0.800 (worse)."
    )


def test_what_is_missing_is_named(broken: Analysis):
    found = data_notes.missing(broken)
    assert list(found) == ["Not judged", "Missing", "Left out or without intervals"]
    assert any("no finished fine-tuning of epoch 5, seed 123124" in line for line in found["Missing"])
    assert data_notes.missing(replace(broken, judged=(), left=())) == {}


def test_facts_say_which_seeds_count(small: Analysis):
    one = small.judged[0]
    assert "Seeds of the Dice: 123124, 123125, which all epochs share." in data_notes.facts(one)[0]
    every = replace(one, pool=replace(one.pool, every_seed=True), notes=("no interval",))
    assert data_notes.facts(every)[0].endswith("Seeds of the Dice: 123124, 123125.")
    assert data_notes.facts(every)[-1] == "no interval"
    assert f"Spearman {one.correlations['spearman']:.3f}" in data_notes.facts(one)[1]


def test_every_way_of_choosing_is_explained(paperlike: Analysis):
    defined = glossary.definitions(paperlike)
    for selector in SELECTORS.values():
        assert defined[selector.label[0].upper() + selector.label[1:]] == f"{selector.meaning}."
    assert "95 %" in defined["Interval"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(0.95449), "0.954"), (number(7), "7"), (number(None), "–"), (number(float("nan")), "–"), (number(-0.0001), "0.000"),
        (signed(0.0123), "+0.012"), (signed(-0.5, 1), "−0.5"), (signed(-0.0001), "0.000"), (between((0.1, 0.25)), "0.100 – 0.250"),
        (between(None), "–"), (spread(0.5, float("nan")), "0.500"), (spread(0.5, 0.01), "0.500 ± 0.010"), (epochs(300.0), "300"),
        (epochs(32.36), "32.4"), (probability(0.0001), "< 0.001"), (probability(0.0), "0.000"), (probability(None), "–"),
    ],
)  # fmt: skip
def test_numbers_as_they_are_written(text: str, expected: str):
    assert text == expected
