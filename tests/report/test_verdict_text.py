"""The verdict in words: what it says, and that it never says more than the numbers."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.analysis.test_judge import SAMPLING, pool

from medtransfer.analysis.model import Analysis, Contrast, Evidence, Sampling, Summary
from medtransfer.analysis.summary import analyse
from medtransfer.metrics.comparison import Interval, Outcome
from medtransfer.report import data_notes, glossary, tables, verdict_text
from medtransfer.report.format import between, epochs, number, probability, probability_from_draws, signed, spread
from medtransfer.selectors.selectors import EQUAL_COST, SELECTORS
from medtransfer.tasks import TASKS

Make = Callable[..., Analysis]
REMARK = " (not after correction for all comparisons)"


def summary(selector: str, tis: float, count: int, interval: Interval | None, cost: float = 300.0) -> Summary:
    return Summary(
        SELECTORS[selector], count, 6, tis, interval, tis - 0.1, 0.05, mean_epochs=cost, shared_epochs=cost, within_noise=0.5,
        fixed_at_cost=0.8, fixed_at_shared=0.85,
    )  # fmt: skip


def contrast(
    difference: float,
    interval: Interval | None,
    outcome: Outcome,
    p_holm: float = 0.01,
    second: str = "full",
    first: str = "offline",
) -> Contrast:
    wins = 12 if difference > 0 else 0
    opponent = {**SELECTORS, EQUAL_COST.name: EQUAL_COST}[second]
    p_values = (p_holm / 7, p_holm) if interval else (None, None)
    losses = 12 - wins if difference else 0
    return Contrast(
        SELECTORS[first], opponent, 12, 6 if interval else 2, difference, interval, *p_values, wins, losses, outcome, None
    )


def analysis(*contrasts: Contrast) -> Analysis:
    summaries = (summary("offline", 0.746, 12, (0.44, 0.98)), summary("full", 0.9, 15, None))
    return Analysis((), summaries, contrasts, Evidence(), (), Sampling(100, 0.95, 1, 0.01, 0.1))


@pytest.mark.parametrize(
    ("difference", "interval", "outcome", "said"),
    [
        (-0.076, (-0.2, 0.04), "undecided",
         "82.2 %. Which is better is undecided: the difference is −7.6 points (95 % interval −20.0 to +4.0)."),
        (0.02, (0.01, 0.03), "better",
         "72.6 %. Choosing by robustness is better: the difference is +2.0 points (95 % interval +1.0 to +3.0)."),
        (-0.02, (-0.03, -0.01), "worse",
         "76.6 %. The last checkpoint is better: the difference is −2.0 points (95 % interval −3.0 to −1.0)."),
        (0.001, (-0.003, 0.005), "equivalent",
         "74.5 %. The two are equivalent: the difference is +0.1 points (95 % interval −0.3 to +0.5), within ±1 points."),
    ],
)  # fmt: skip
def test_the_verdict_in_full(small: Analysis, difference: float, interval: Interval, outcome: Outcome, said: str):
    """The last checkpoint's share is over the same configurations; the 90 % of all 15 would compare what cannot be compared."""
    assert verdict_text.verdict(replace(analysis(contrast(difference, interval, outcome)), judged=small.judged)) == (
        "Over 12 configurations on acdc, choosing by robustness (offline) keeps on average 74.6 % of the best checkpoint’s Dice "
        f"(95 % interval 44.0 to 98.0 %); always taking the last checkpoint keeps {said}"
    )


def test_a_mean_tis_below_0_is_beside_its_interval(small: Analysis):
    found = replace(analysis(contrast(-0.076, (-0.2, 0.04), "undecided")), judged=small.judged)
    below = (summary("offline", -0.3, 12, (-0.6, -0.1)), *found.summaries[1:])
    assert "(95 % interval −60.0 to −10.0 %)" in verdict_text.verdict(replace(found, summaries=below))


def test_too_few_pretrainings_are_said_to_decide_nothing(small: Analysis):
    one = contrast(-0.076, None, "undecided")
    found = replace(analysis(one), judged=small.judged)
    few = "ith 1 pretraining and 1 target no difference can be told from chance; 6 of either are the least."
    assert verdict_text.verdict(found).endswith(
        f"keeps 82.2 %. Which is better could not have been decided: the difference is −7.6 points, but w{few}"
    )
    assert f"W{few}" in verdict_text.weaknesses(found)
    assert tables.brief(found).count(few) == 1
    assert not any(text.startswith("Choosing by") for text in verdict_text.particulars(found))  # no comparison can be told


def test_targets_that_say_nothing_about_robustness_do_not_count():
    """Two targets have robustness and a Dice, five others neither: six targets would allow an interval."""
    scored = [pool(name=name) for name in ("moon", "sun")]
    auc = TASKS["multilabel"].primary
    others = [replace(pool(name=f"x-ray {number}", scores={}), metric=auc) for number in range(5)]
    found = analyse([*scored, *others], [], SAMPLING)
    said = verdict_text.verdict(found)
    assert said.startswith("Over 2 configurations on moon and sun, choosing by robustness (offline) keeps on average ")
    assert "of the best checkpoint’s Dice; " in said and "with 1 pretraining and 2 targets no difference" in said
    assert any("With 1 pretraining and 2 targets no difference" in text for text in verdict_text.weaknesses(found))
    many = [pool(name=f"moon {number}") for number in range(5)]
    assert verdict_text.verdict(analyse(many, [], SAMPLING)).startswith("Over 5 configurations on 5 targets, choosing by ")


@pytest.mark.parametrize(
    ("p_holm", "confidence", "remark"), [(0.04, 0.95, ""), (0.05, 0.95, REMARK), (0.08, 0.95, REMARK), (0.08, 0.9, "")]
)
def test_what_is_clear_only_before_the_correction_is_said_to_be(p_holm: float, confidence: float, remark: str):
    found = analysis(contrast(0.02, (0.01, 0.03), "better", p_holm))
    found = replace(found, sampling=replace(found.sampling, confidence=confidence))
    assert verdict_text.particulars(found)[0] == f"Choosing by robustness (offline) is better than the last checkpoint{remark}."


def test_the_same_choices_everywhere_are_said_to_be_the_same(small: Analysis):
    same = replace(contrast(0.0, (0.0, 0.0), "undecided", 1.0), interval=None)
    one = replace(analysis(same, contrast(0.2, (0.1, 0.3), "better", second="none")), judged=small.judged)
    assert verdict_text.verdict(one).endswith("Both bring the same in every configuration.")
    assert verdict_text.particulars(one)[0] == (
        "Choosing by robustness (offline) is better than no pretraining; it brings the same in every configuration as the last "
        "checkpoint."
    )
    assert not any("told from chance" in text for text in verdict_text.weaknesses(one))
    assert [row["outcome"] for row in tables.contrast_table(one)] == ["undecided: the same in all", "better"]


def test_without_the_last_checkpoint_nothing_is_compared(small: Analysis):
    one = replace(analysis(contrast(0.1, (0.05, 0.2), "better", second="none")), judged=small.judged)
    assert verdict_text.verdict(one).endswith("44.0 to 98.0 %).")


def test_every_comparison_is_sorted_by_its_outcome():
    some = analysis(
        contrast(-0.02, (-0.03, -0.01), "worse"),
        contrast(0.2, (0.1, 0.3), "better", second="none"),
        contrast(0.1, (0.1, 0.3), "better", second="random"),
        contrast(0.01, (-0.1, 0.3), "undecided", 0.7, second="fixed at equal cost"),
    )
    assert verdict_text.particulars(some)[0] == (
        "Choosing by robustness (offline) is better than no pretraining and a random checkpoint; it is worse than the last "
        "checkpoint; it is neither shown better nor worse than fixed lengths of equal cost."
    )
    equal = analysis(contrast(0.001, (-0.004, 0.006), "equivalent", 0.7))
    assert verdict_text.particulars(equal)[0] == "Choosing by robustness (offline) is equivalent to the last checkpoint."


def test_one_configuration_has_its_own_interval(make: Make):
    said = verdict_text.verdict(make(1, 5))
    offline = make(1, 5).judged[0].by_selector["offline"]
    assert f"takes epoch {offline.candidate} and keeps {100 * offline.tis:.1f} %" in said
    assert said.endswith("One configuration says nothing about others.")
    assert not any("distinguished" in one for one in verdict_text.particulars(make(1, 5)))


def test_a_single_seed_is_said_and_counts_no_noise(make: Make):
    said = " ".join(verdict_text.particulars(make(9, 1)))
    assert "Every configuration has a single seed: no interval of the Dice" in said
    assert "Not distinguishable from the best" not in said
    assert "Not distinguishable from the best checkpoint: the choice by robustness (offline) in " in " ".join(
        verdict_text.particulars(make(9, 3))
    )


@pytest.mark.parametrize(("count", "warned"), [(1, False), (2, True), (10, True), (11, False), (36, False)])
def test_too_few_pretrainings_for_any_difference(make: Make, count: int, warned: bool):
    """Two configurations share a pretraining, and six pretrainings are the least; a lone configuration has its own words."""
    assert any("no difference can be told from chance" in text for text in verdict_text.weaknesses(make(count, 5))) == warned


def test_without_robustness_only_baselines_are_described(broken: Analysis):
    said = verdict_text.verdict(broken)
    assert said.startswith("Robustness cannot be judged")
    assert "over 1 configuration: last checkpoint " in said
    assert "2 of 3 configurations could not be judged." in verdict_text.particulars(broken)


@pytest.mark.parametrize(
    ("near", "said"),
    [((), ""), (("full",), "Not distinguished from the best: the last checkpoint. "),
     (("full", "none"), "Not distinguished from the best: the last checkpoint and no pretraining. ")],
)  # fmt: skip
def test_plain_choices_of_one_configuration_promise_nothing_about_others(broken: Analysis, near: tuple[str, ...], said: str):
    first = broken.judged[0]
    verdicts = tuple(replace(verdict, within_noise=verdict.selector.name in near) for verdict in first.verdicts)
    text = verdict_text.verdict(replace(broken, judged=(replace(first, verdicts=verdicts), *broken.judged[1:])))
    assert text.endswith(f" %. {said}One configuration says nothing about others.")


@pytest.mark.parametrize(
    ("recipes", "seeds", "warned"),
    [
        (2, 3, "The 6 pretrainings are seeds of 2 recipes: what is said over pretrainings holds for other seeds of these recipes, "
               "not for other recipes; 6 recipes are the least for that."),
        (1, 6, "The 6 pretrainings are seeds of 1 recipe: what is said over pretrainings holds for other seeds of this recipe, "
               "not for other recipes; 6 recipes are the least for that."),
        (6, 2, ""), (2, 2, ""), (6, 1, ""),
    ],
)  # fmt: skip
def test_seeds_of_few_recipes_say_nothing_about_other_recipes(make: Make, recipes: int, seeds: int, warned: str):
    """Six recipes count as six pretrainings, and fewer than six seeds have no interval."""
    found = make(recipes * seeds, 2, (0, 1, 5, 10))
    names = [(f"recipe {i}", f"origin{i}-s{j}") for i in range(recipes) for j in range(seeds)]
    pools = [
        replace(one, pool=replace(one.pool, recipe=recipe, fields={**one.pool.fields, "origin": origin, "target": "moon"}))
        for one, (recipe, origin) in zip(found.judged, names, strict=True)
    ]  # fmt: skip
    said = [text for text in verdict_text.weaknesses(replace(found, judged=tuple(pools))) if "recipe" in text]
    assert said == ([warned] if warned else [])


def test_nothing_judged_gives_the_reasons(broken: Analysis):
    nothing = replace(broken, judged=broken.judged[1:], summaries=(), contrasts=())
    assert verdict_text.verdict(nothing).startswith("There is no verdict, since none of the 2 configurations could be judged: ")
    assert "all checkpoints have the same mean Dice, 0.000, so every choice is the best (1)" in verdict_text.verdict(nothing)
    assert verdict_text.verdict(replace(nothing, judged=())) == "There are no configurations, so there is no verdict."
    assert verdict_text.cost(nothing) == ""


def test_fine_tunings_that_learned_nothing_are_counted(make: Make):
    whole = make(11, 5)
    first = whole.judged[0]
    pool = replace(first.pool, blank=3, fine_tunings=dict.fromkeys(first.pool.outcome, "run"))
    said = verdict_text.weaknesses(replace(whole, judged=(replace(first, pool=pool), *whole.judged[1:])))
    assert said == [
        f"3 fine-tunings of {len(pool.outcome)} predict no foreground in any test image: train for more epochs or at another "
        "learning rate, and look at the labels."
    ]


@pytest.mark.parametrize(("above", "said"), [(0.0, True), (0.001, False)])
def test_configurations_no_better_than_a_constant_mask_are_counted(make: Make, above: float, said: bool):
    whole = make(11, 5)
    first = whole.judged[0]
    best = max(first.pool.means.values())
    pool = replace(first.pool, constant=best - above)
    texts = verdict_text.weaknesses(replace(whole, judged=(replace(first, pool=pool), *whole.judged[1:])))
    sentence = (
        "In 1 of 11 judged configurations no checkpoint has a higher mean Dice than a mask with the same label in every pixel, "
        f"such as {best:.3f} against {best:.3f}: train for more epochs or at another learning rate, and look at the labels."
    )
    assert texts == [sentence] * said


def test_differences_that_cancel_out_are_not_called_too_few():
    """On each of six targets the last checkpoint is better by a quarter in one mode, and worse by as much in the other."""
    fields = {"source": "imagenet", "origin": "simple", "encoder": "unet"}
    modes = {"full": {1: (0.75, 0.75), 5: (1.0, 1.0)}, "decoder": {1: (1.0, 1.0), 5: (0.75, 0.75)}}
    pools = [
        pool(values, {1: 0.9, 5: 0.5}, fields={**fields, "target": f"t{number}", "mode": mode})
        for mode, values in modes.items() for number in range(6)
    ]  # fmt: skip
    said = verdict_text.verdict(analyse(pools, [], SAMPLING))
    assert said.endswith("Which is better is undecided: the difference is 0.0 points, since wins and losses cancel out exactly.")


def test_many_pretrainings_of_which_one_has_most_configurations_are_not_called_few():
    """Eight pretrainings with 9, 1, …, 1 of 16 configurations count as 16² / (81 + 7) = 2.9, nine targets as 3.6."""
    cells = [*((0, target) for target in range(9)), *((encoder, 0) for encoder in range(1, 8))]
    fields = {"source": "imagenet", "origin": "simple", "mode": "full"}
    pools = [pool(fields={**fields, "encoder": f"e{encoder}", "target": f"t{target}"}) for encoder, target in cells]
    few = (
        "ith 8 pretrainings and 9 targets, which count as 2.9 and 3.6 since a few hold most configurations, no difference can be "
        "told from chance; 6 of either that count as 4.5 are the least."
    )
    found = analyse(pools, [], SAMPLING)
    assert verdict_text.verdict(found).endswith(f"but w{few}") and f"W{few}" in verdict_text.weaknesses(found)


def test_what_cannot_be_decided_is_named_where_other_things_can():
    """Epoch 0 is lacking on four of seven targets."""
    whole = [pool(name=f"t{number}") for number in range(7)]
    lacking = {epoch: values for epoch, values in whole[0].values.items() if epoch}
    pools = [*whole[:3], *(pool({e: tuple(v) for e, v in lacking.items()}, name=one.fields["target"]) for one in whole[3:])]
    pools = [replace(one, scores={"robustness": {e: s for e, s in one.robustness.items() if e in one.means}}) for one in pools]
    found = analyse(pools, [], SAMPLING)
    assert any("is neither" in text or "is better" in text or "is worse" in text for text in verdict_text.particulars(found))
    few = "with 1 pretraining and 3 targets no difference can be told from chance; 6 of either are the least."
    assert f"Compared with no pretraining, {few}" in verdict_text.weaknesses(found)


def test_configurations_without_robustness_are_counted(make: Make):
    whole = make(11, 5)
    first = whole.judged[0]
    plain = replace(first, verdicts=tuple(v for v in first.verdicts if v.selector.name not in ("offline", "online")))
    said = verdict_text.weaknesses(replace(whole, judged=(plain, *whole.judged[1:])))
    assert said == ["1 of 11 judged configurations lacks robustness and says nothing about it."]


@pytest.mark.parametrize(
    ("shared", "more"),
    [
        (300.0, ""),
        (310.5, "; where one pretraining serves all its targets it must run to the longest stop, 310.5 epochs on average, at which "
                "fixed lengths bring 0.850"),
    ],
)  # fmt: skip
def test_the_cost_compares_with_fixed_lengths_by_both_accounts(shared: float, more: str):
    some = analysis(contrast(-0.1, (-0.2, -0.1), "worse", second="fixed at equal cost"))
    summaries = (replace(some.summaries[0], shared_epochs=shared), *some.summaries[1:])
    assert verdict_text.cost(replace(some, summaries=summaries)) == (
        "At equal cost: robustness (offline) spends 300 epochs for a mean TIS of 0.746, where fixed lengths of the same cost bring "
        f"0.800 (worse){more}."
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
    for selector in (one for one in SELECTORS.values() if not one.further):
        assert defined[selector.label[0].upper() + selector.label[1:]] == f"{selector.meaning}."
    assert "95 %" in defined["Interval"] and "at least 6" in defined["Interval"]
    assert "within ±0.01" in defined["Better, worse, equivalent, undecided"]
    assert "from 3 seeds on" in defined["P(best)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(0.95449), "0.954"), (number(7), "7"), (number(None), "–"), (number(float("nan")), "–"), (number(-0.0001), "0.000"),
        (signed(0.0123), "+0.012"), (signed(-0.5, 1), "−0.5"), (signed(-0.0001), "0.000"), (between((-0.1, 0.2)), "−0.100 – 0.200"),
        (between(None), "–"), (spread(0.5, float("nan")), "0.500"), (spread(0.5, 0.01), "0.500 ± 0.010"), (epochs(300.0), "300"),
        (epochs(32.36), "32.4"), (probability(0.0001), "< 0.001"), (probability(0.0), "0.000"), (probability(None), "–"),
        (probability_from_draws(0.0), "< 0.001"), (probability_from_draws(0.25), "0.250"), (probability_from_draws(1.0), "> 0.999"),
        (probability_from_draws(None), "–"), (probability_from_draws(math.nan), "–"),
    ],
)  # fmt: skip
def test_numbers_as_they_are_written(text: str, expected: str):
    assert text == expected
