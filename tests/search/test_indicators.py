"""Every stored indicator is searched as robustness is: judged on unseen targets, alone and against all others."""

from typing import Any

import pytest

from medtransfer.errors import InputError

pytestmark = pytest.mark.long

BEST_AT_5 = {0: 0.1, 1: 0.2, 5: 0.9, 10: 0.3}  # the best checkpoint of every target: TIS 1
BEST_AT_1 = {0: 0.1, 1: 0.9, 5: 0.5, 10: 0.3}  # TIS .4
LOWEST = {0: 7.0, 1: 5.0, 5: 3.0, 10: 4.0}  # of an indicator of which lower values are better
TARGETS = ("moon", "sun", "star")
FAST: dict[str, Any] = {"levels": [-1], "margins": {"low": 0.5, "high": 0.5, "step": 1}, "poolings": ["frozen"]}


def plant(lab: Any) -> None:
    """Ridge is right everywhere at level -2 and wrong at level -1; TwoNN, of which less is better, is wrong for the star."""
    for target in TARGETS:
        lab.add_indicator(target, "ridge", BEST_AT_5)
        lab.add_indicator(target, "ridge", BEST_AT_1, level=-1)
        lab.add_indicator(target, "twonn", {**LOWEST, 1: 2.0} if target == "star" else LOWEST)


def test_every_indicator_is_judged_on_unseen_targets(planted: Any, no_pictures: None):
    plant(planted)
    text = planted.search(indicators=["all"])
    (parent,), children = planted.family()
    expected = {
        "tis_in_sample": 0.8, "tis_held_out": 1.6 / 3,  # robustness, as without other indicators
        "tis_in_sample_ridge": 1.0, "tis_held_out_ridge": 1.0, "tis_in_sample_twonn": 2.4 / 3, "tis_held_out_twonn": 2.4 / 3,
        "tis_held_out_any-default": 0.8,  # TwoNN: robustness and ridge are worse at the settings nearest to the default
        "tis_in_sample_any": 1.0, "tis_held_out_any": 0.8,  # without the star all are equally good: then the default's indicator
    }  # fmt: skip
    assert {name: parent.metrics[name] for name in expected} == pytest.approx(expected)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    table = {row[0]: row for row in rows if len(row) == 8}
    assert table["ridge probe"][1:5] == ["2", "ridge probe, level -2, pixels 10", "1.000", "1.000"]
    assert table["TwoNN"][1:5] == ["1", "TwoNN, level -2, pixels 10", "0.800", "0.800"]
    assert table["any, at any setting"][1:5] == ["19", "ridge probe, level -2, pixels 10", "1.000", "0.800"]
    assert "The best of these 3 indicators was not known beforehand" in text
    by_ridge = [row for row in planted.rows() if row["study"] == "search-by-ridge"]
    assert [(row["indicator"], row["level"], row["distance"], row["options"]) for row in by_ridge] == [
        ("ridge", "-1", "", "pixels 10"), ("ridge", "-2", "", "pixels 10")
    ]  # fmt: skip
    assert [float(row["tis"]) for row in by_ridge] == pytest.approx([0.4, 1.0])
    assert len(children) == 8 + 2 + 1, "of robustness the settings at their best margin, of others all"


def test_choosing_the_indicator_is_held_out_too(planted: Any):
    """Without the star, ridge is right and TwoNN wrong twice; on the star it is the other way round."""
    for target in TARGETS:
        planted.add_indicator(target, "ridge", BEST_AT_1 if target == "star" else BEST_AT_5)
        planted.add_indicator(target, "twonn", LOWEST if target == "star" else {**LOWEST, 1: 2.0})
    planted.search(indicators=["ridge", "twonn"])
    (parent,), _ = planted.family()
    assert parent.metrics["tis_held_out_any"] == pytest.approx((1 + 1 + 0.4) / 3)
    assert parent.metrics["tis_held_out"] == pytest.approx((1 + 1 + 0.4) / 3), "the first of the list"
    assert parent.metrics["tis_default"] == pytest.approx(0.2), "robustness is the comparison, though it was not searched"


def test_the_winner_of_robustness_is_logged_wherever_it_stands_in_the_list(planted: Any):
    """A report asks whether its setting won a search here."""
    plant(planted)
    planted.search(indicators=["ridge", "robustness"], **FAST)
    (parent,), _ = planted.family()
    assert (parent.params["indicator"], parent.params["distance"], parent.params["level"]) == ("robustness", "cosine", "-1")


@pytest.mark.parametrize("value", [0.95, None])
def test_checkpoints_of_features_that_are_not_finite_are_passed_over(planted: Any, value: float | None):
    for target in TARGETS:
        planted.add_indicator(target, "ridge", {**BEST_AT_5, 1: value}, unfit=1)
    planted.search(indicators=["robustness", "ridge"], **FAST)
    assert planted.family()[0][0].metrics["tis_in_sample_ridge"] == 1.0


def test_what_only_some_configurations_have_is_left_out_with_a_word(planted: Any):
    planted.add_indicator("moon", "ridge", BEST_AT_5)
    for target in TARGETS:
        planted.add_indicator(target, "logme", {epoch: BEST_AT_5[epoch] for epoch in (0, 1, 5)})
    text = planted.search(indicators=["all"], **FAST)
    assert "Only some configurations were scored by ridge: left out of the search." in text
    assert "## Every indicator" not in text
    with pytest.raises(InputError, match=r"search\.indicators .* ridge is not such; there are robustness; .*--indicators ridge"):
        planted.search(indicators=["robustness", "ridge"], **FAST)


def test_other_indicators_need_no_robustness(lab: Any):
    for target in TARGETS:
        lab.add_dice(target)
        lab.add_indicator(target, "ridge", BEST_AT_5)
    text = lab.search(indicators=["all"])
    assert text.startswith("# Which setting of ridge probe chooses best")
    assert lab.family()[0][0].metrics["tis_held_out"] == 1.0
