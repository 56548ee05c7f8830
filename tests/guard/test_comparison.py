"""What a guard decides and says, from invented scores."""

from dataclasses import replace

import numpy as np
import pytest

from medtransfer.guard.comparison import Guard
from medtransfer.guard.verdict import summary, verdict
from medtransfer.tasks import TASKS
from medtransfer.tryouts.scores import Scores

EPOCHS = {"better": [0.7, 0.71, 0.72], "worse": [0.5, 0.5, 0.51], "undecided": [0.6, 0.61, 0.66]}
NONE = [0.6, 0.61, 0.61]


def make(*rows, patients=0, none=NONE, **changed) -> Guard:
    """Return a guard whose scores differ by patient as little as needed."""
    values = np.array([none, *rows])
    without = np.repeat(values[..., None], patients, axis=2)
    return Guard(
        **{
            "target": "moon", "encoder": "unet", "origin": "simple", "mode": "full", "metric": TASKS["segmentation"].primary,
            "epochs": list(range(5, 5 + len(rows))), "scores": Scores(values, without), "seeds": [1, 2, 3], "train_epochs": 4,
            "full_epochs": 15, "patients": patients or 1, "held_out": 0.0, "confidence": 0.95, "least": 0.1, **changed,
        }
    )  # fmt: skip


@pytest.mark.parametrize("compared", EPOCHS)
def test_a_clear_difference_decides(compared):
    guard = make(EPOCHS[compared], patients=4)
    assert guard.compared(5) == compared
    assert guard.choice == {"better": 5, "worse": 0, "undecided": None}[compared]
    text = "\n".join(verdict(guard))
    assert compared[1:] in text and "validation Dice" in text and "learns faster" in text and "95 % interval" in text
    next_step = {
        "better": "`medtransfer finetune --target moon --encoder unet --origin simple --epoch 5 --mode full`",
        "worse": "`medtransfer finetune --target moon --encoder unet --origin simple --epoch 0 --mode full`",
        "undecided": "`medtransfer guard --target moon --encoder unet --origin simple --epoch 5 --train-epochs 4 --seeds 6`",
    }
    assert next_step[compared] in text and "--epoch 0,5 --mode full --seed 1,2,3`" in text


def test_seeds_are_paired():
    """What a seed adds to both starts is no uncertainty of their difference."""
    none, shift = np.array([0.3, 0.5, 0.7]), np.array([0.05, 0.051, 0.049])
    assert make(none + shift, none=none).compared(5) == "better"
    assert make(none[::-1] + shift, none=none).compared(5) == "undecided"


def test_patients_that_disagree_leave_it_undecided():
    values = np.array([NONE, np.add(NONE, 0.1)])
    without = np.repeat(values[..., None], 3, axis=2)
    without[1, :, 0] -= 0.09  # without the first patient almost nothing is left
    assert make(EPOCHS["better"], scores=Scores(values, without), patients=3).compared(5) == "undecided"


def test_equal_differences_of_all_seeds_and_no_patients_decide_nothing():
    """A head that is solved for has the same score with every seed."""
    guard = make([0.7, 0.7, 0.7], none=[0.6, 0.6, 0.6])
    assert guard.compared(5) == "undecided" and guard.choice is None and guard.interval(5) == (-1, 1)
    text = "\n".join(verdict(guard))
    assert "95 % interval −1.000 to +1.000" in text and "all seeds gave the same, as heads that are solved for do" in text
    assert "all seeds gave the same" not in "\n".join(verdict(make(EPOCHS["better"])))


@pytest.mark.parametrize(
    ("rows", "choice"),
    [
        (["better", "worse"], 5), (["worse", "worse"], 0), (["worse", "undecided"], None), (["undecided", "better"], 6),
    ],
)  # fmt: skip
def test_one_choice_from_several_checkpoints(rows, choice):
    assert make(*(EPOCHS[name] for name in rows)).choice == choice


def test_the_first_of_equal_ones_is_chosen():
    """Their means differ by the order of the sums alone."""
    one, other, none = [0.7, 0.8, 0.9], [0.7, 0.9, 0.8], [0.1, 0.12, 0.1]
    assert np.mean(one) < np.mean(other) and make(one, other, none=none).choice == 5
    assert make(other, none=none).choice == 5


def test_the_best_of_several_better_ones_is_chosen_and_intervals_widen():
    alone, both = make(EPOCHS["better"]), make(EPOCHS["better"], [0.8, 0.81, 0.82])
    assert both.choice == 6 and "the intervals hold together" in "\n".join(verdict(both))
    assert both.interval(5)[0] < alone.interval(5)[0] and both.interval(5)[1] > alone.interval(5)[1]


@pytest.mark.parametrize(("constant", "said"), [(0.7, False), (0.9, True)])
def test_models_no_better_than_the_same_label_everywhere_are_named(constant, said):
    guard = make(EPOCHS["better"])
    guard = replace(guard, scores=replace(guard.scores, constant=constant))
    assert guard.compared(5) == "better"
    assert ("Neither is better than the same label in every pixel, which would have 0.900." in verdict(guard)[0]) == said
    assert summary(guard)["constant"] == constant and "constant" not in summary(make(EPOCHS["better"]))


def test_the_mean_of_seeds_at_the_constant_is_no_better_than_it_by_rounding():
    """The mean of three 0.1 is 0.10000000000000002."""
    for value in (0.1, 0.3, 0.7):
        guard = make([value] * 3, none=[value] * 3, least=0.0)
        guard = replace(guard, scores=replace(guard.scores, constant=value))
        assert "Neither is better than the same label in every pixel" in verdict(guard)[0]


def test_an_interval_ends_where_no_difference_can_be():
    guard = make([0.9, 0.1, 0.5], none=[0.1, 0.9, 0.6], patients=0)
    low, high = guard.differences[5].interval(0.95)
    assert low < -1 < 1 < high and guard.interval(5) == (-1, 1)
    kappa = replace(guard, metric=TASKS["ordinal"].primary)
    assert kappa.interval(5) == (max(low, -2), min(high, 2))


def test_where_the_whole_schedule_taught_nothing_there_is_one_proposal():
    text = "\n".join(verdict(make([0.05, 0.04, 0.03], none=[0.01, 0.02, 0.03], train_epochs=15)))
    assert "Next: all of them in full, `medtransfer finetune" in text
    short = "\n".join(verdict(make([0.05, 0.04, 0.03], none=[0.01, 0.02, 0.03], train_epochs=4)))
    assert "Next: a longer schedule, `medtransfer guard " in short and "--seeds 3`; or all of them in full, `medtransfer" in short


def test_models_that_learned_nothing_decide_nothing():
    guard = make([0.02, 0.02, 0.02], none=[0.01, 0.01, 0.01])
    assert guard.compared(5) == "undecided" and "Neither learned anything" in "\n".join(verdict(guard))


def test_a_mean_of_seeds_at_the_limit_is_not_above_it_by_rounding():
    """The mean of three .1 is 0.10000000000000002, and that limit is .1."""
    guard = make([0.1] * 3, none=[0.02, 0.03, 0.02])
    assert guard.means[5] > 0.1 and not guard.learned(5)
    assert "Neither learned anything: both are at most 0.1." in verdict(guard)[0]
    assert make([0.1 + 1e-9] * 3, none=[0.02, 0.03, 0.02]).learned(5)


def test_equal_scores_decide_nothing():
    assert make(NONE).compared(5) == "undecided"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"patients": 4}, "other patients (4 for validation)"), ({}, "not other patients, since there is only one"),
        ({"held_out": 0.2}, "1 of its training patients was held out"),
        ({"train_epochs": 15}, "as long as that of the params"),
    ],
)  # fmt: skip
def test_the_verdict_says_what_it_rests_on(changed, said):
    assert said in "\n".join(verdict(make(EPOCHS["better"], **changed)))


def test_the_summary_has_every_number():
    found = summary(make(EPOCHS["better"], patients=4))
    (row,) = found["checkpoints"]
    assert found["choice"] == 5 and found["none"]["by_seed"] == NONE and row["by_seed"] == EPOCHS["better"]
    assert row["difference"] == pytest.approx(0.71 - np.mean(NONE)) and row["low"] < row["difference"] < row["high"]
    assert row["verdict"] == "better" and row["error_over_patients"] == 0
