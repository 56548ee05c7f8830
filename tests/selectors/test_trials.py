"""How many candidates a trial fine-tunes in each rung, by hand, and what it needs."""

import pytest

from medtransfer.selectors.selectors import SELECTORS

TRIALS = [name for name, selector in SELECTORS.items() if selector.trial]


@pytest.mark.parametrize(
    ("name", "candidates", "seeds", "rungs"),
    [
        ("one-each", 10, 2, (10,)), ("one-each", 2, 5, (2,)),
        ("one-each-last5", 10, 2, (5,)), ("one-each-last5", 6, 5, (5,)), ("one-each-last5", 5, 5, ()),  # that is one-each
        ("two-seeds", 10, 3, (10, 10)), ("two-seeds", 10, 2, ()),
        ("race", 10, 5, (10, 4, 2)), ("race", 10, 4, (10, 4, 2)), ("race", 10, 3, (10, 4)), ("race", 10, 2, ()),
        ("race", 28, 9, (28, 10, 4, 2)), ("race", 9, 5, (9, 3)), ("race", 4, 3, (4, 2)), ("race", 3, 5, ()),  # that is one-each
    ],
)  # fmt: skip
def test_candidates_of_each_rung(name: str, candidates: int, seeds: int, rungs: tuple[int, ...]) -> None:
    trial = SELECTORS[name].trial
    assert trial is not None and trial.rungs(candidates, seeds) == rungs
    assert trial.lacks_seeds(candidates, seeds) == (seeds == 2 and name in ("two-seeds", "race"))


@pytest.mark.parametrize("name", TRIALS)
@pytest.mark.parametrize(("candidates", "seeds"), [(10, 0), (10, 1), (1, 5)])
def test_a_seed_to_judge_on_and_a_rival_are_needed(name: str, candidates: int, seeds: int) -> None:
    trial = SELECTORS[name].trial
    assert trial is not None and trial.rungs(candidates, seeds) == ()
    assert trial.lacks_seeds(candidates, seeds) == (seeds < 2)
