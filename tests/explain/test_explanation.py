"""The text names the checkpoints at which outcome and robustness are highest, ties included."""

from typing import Any

import pytest

from medtransfer.explain.cases import Cases
from medtransfer.explain.explanation import Explanation, particulars
from medtransfer.explain.quantities import ROBUSTNESS

DICE = {0: (0.3, 0.3), 1: (0.8, 0.8), 5: (0.8, 0.8), 10: (0.7, 0.7)}  # epochs 1 and 5 are equally good


@pytest.mark.parametrize(
    ("robustness", "said", "same"),
    [
        ({1: 0.2, 5: 0.9, 10: 0.4}, "Dice and robustness are both highest at epoch 5.", 9),
        ({1: 0.1 + 0.2, 5: 0.2, 10: 0.3}, "Dice and robustness are both highest at epoch 1.", 9),
        ({1: 0.2, 5: 0.3, 10: 0.1 + 0.2}, "Dice and robustness are both highest at epoch 5.", 9),  # 0.30000000000000004
        ({1: 0.2, 5: 0.3, 10: 0.9}, "Dice is highest at epoch 1 (0.800), robustness at epoch 10, where Dice is 0.700.", 0),
    ],
)
def test_a_checkpoint_that_ties_for_both_is_the_highest_of_both(
    robustness: dict[int, float], said: str, same: int, make_case: Any
) -> None:
    def sentences(count: int) -> str:
        cases = tuple(make_case(DICE, {(ROBUSTNESS, -2): robustness}, f"net{index}") for index in range(count))
        return "\n".join(particulars(Explanation.of(Cases(cases, -2, ()), 0.95)))

    assert said in sentences(1)
    assert f"Dice and robustness are highest at the same checkpoint in {same} of 9 configurations." in sentences(9)


NOISY = {0: (0.5, 0.9), 1: (0.76, 0.8), 5: (0.75, 0.79), 10: (0.71, 0.81)}
CLEAR = {0: (0.3, 0.3001), 1: (0.5, 0.5002), 5: (0.7, 0.7), 10: (0.9, 0.9001)}


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [(NOISY, "In none of them can the change of Dice be told"), (CLEAR, "In 3 of them the change of Dice can be told")],
)
def test_that_no_change_can_be_told_from_chance_is_said(outcomes: Any, said: str, make_case: Any) -> None:
    cases = (make_case(outcomes, {(ROBUSTNESS, -2): {0: 0.1, 1: 0.2, 5: 0.9, 10: 0.4}}, "net"),)
    assert said in "\n".join(particulars(Explanation.of(Cases(cases, -2, ()), 0.95)))
