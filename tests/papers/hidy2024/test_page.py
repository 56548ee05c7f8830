"""The verdict of a replay in words: what the released data show, by outcome."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medtransfer.analysis.model import Analysis
from medtransfer.metrics.comparison import Outcome
from medtransfer.papers.hidy2024 import page
from medtransfer.papers.hidy2024.cells import Cell
from medtransfer.papers.hidy2024.claims import Claim, Evidence, Holds
from medtransfer.papers.hidy2024.printed import Printed
from medtransfer.papers.hidy2024.tuning_cost import sentence, share

Make = Callable[..., Analysis]
GAINS = (0.02, 0.021, 0.019, 0.02, 0.022, 0.018)


def content(analysis: Analysis, *holds: Holds) -> page.Content:
    printed = Printed("B.1", "no pretraining", "acdc", "simple", "unet", "full", 0.9)
    verdicts = (("reproduced", "reproduced"), ("contradicted", "within noise"), ("not recomputable", "not recomputable"))
    cells = [Cell(printed, 0.9, 0.9, keyed, published, "") for keyed, published in verdicts]
    claims = [Claim("6", "a", "b", Evidence(0.0, None, "holds"), Evidence(0.0, None, value)) for value in holds]
    return page.Content((), cells, {}, {"keyed": analysis, "as-published": analysis}, claims, (), None, Path(), ())


@pytest.mark.parametrize(
    ("gains", "shown"),
    [
        (GAINS, "show that choosing a checkpoint by robustness is better than pretraining to the end"),
        ([-gain for gain in GAINS], "show that choosing a checkpoint by robustness is worse than pretraining to the end"),
        ([0.001, -0.001] * 3, "show no difference that matters between choosing a checkpoint by robustness and pretraining"),
        ((0.06, -0.03, 0.05, -0.05, 0.02, 0.01), "do not show that choosing a checkpoint by robustness is better than"),
        (GAINS[:5], "do not show that choosing a checkpoint by robustness is better than pretraining"),  # too few pretrainings
    ],
    ids=["better", "worse", "equivalent", "undecided", "too few"],
)
def test_the_headline_says_what_the_interval_shows(make_analysis: Make, gains: list[float], shown: str) -> None:
    text = page.verdict(content(make_analysis(gains)))[0]
    assert text.startswith(f"The paper’s released results {shown}")
    assert f"Over {len(gains)} configurations of {len(gains)} pretrainings and 1 dataset, robustness keeps " in text
    assert ("(offline), " in text) and "when it stops the pretraining (online); the last checkpoint keeps " in text


@pytest.mark.parametrize("outcome", ["better", "worse", "equivalent", "undecided"])
def test_comparisons_are_in_the_words_of_the_report(make_analysis: Make, outcome: Outcome) -> None:
    analysis = make_analysis(GAINS)
    (contrast,) = (one for one in analysis.contrasts if (one.first.name, one.second.name) == ("online", "full"))
    changed = replace(contrast, outcome=outcome, difference=0.0201, interval=(-0.01, 0.05), clusters=6)
    words = {"better": "is better than", "worse": "is worse than", "equivalent": "is equivalent to",
             "undecided": "is neither shown better nor worse than"}  # fmt: skip
    assert (
        f"Robustness, online, {words[outcome]} the last checkpoint (mean difference of TIS +0.020, 95 % interval −0.010 to +0.050 "
        "over 6 pretrainings)."
    ) in page.verdict(content(replace(analysis, contrasts=(changed,))))


def test_claims_and_printed_numbers_are_counted(make_analysis: Make) -> None:
    *_, claims, numbers = page.verdict(content(make_analysis(GAINS), "holds", "open", "open", "does not hold", "not recomputable"))
    assert claims == "Of 5 claims that the paper makes in words, the released data support 1, contradict 1, and leave 2 open."
    assert numbers == (
        "Of 3 printed numbers, joined by key 1 are reproduced to the digits, 0 differ within noise, where the printed runs are "
        "others than the released ones, and 1 are contradicted; joined as the printed tables must have been, 1 are reproduced, 1 "
        "differ within noise and 0 are contradicted."
    )


def test_without_scores_robustness_is_said_not_to_be_judged(make_analysis: Make) -> None:
    assert page.verdict(content(make_analysis([])))[0].startswith("Robustness cannot be judged: the files lack scores")


def test_fine_tunings_cost_a_small_part_of_a_pretraining(make_analysis: Make) -> None:
    """450 N images forward and back against 900 x 1,281,167: 8.6 of 1,153 million for ten on ACDC."""
    assert share(10, "acdc") == pytest.approx(10 * 3 * 150 * 1902 / (3 * 300 * 1_281_167))
    assert round(share(10, "acdc"), 3) == 0.007
    assert "one ImageNet pretraining of 300 epochs" in sentence(make_analysis(GAINS))
    assert sentence(make_analysis([])) == ""
