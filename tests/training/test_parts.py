"""Parts of an epoch: which steps are left, that each has its own seed, and how often a state is saved."""

from pathlib import Path

import pytest

from medtransfer.errors import InputError
from medtransfer.seeds import derive_seed
from medtransfer.training import parts
from medtransfer.training.finite_check import STEPS_BETWEEN_CHECKS
from medtransfer.training.parts import NOTHING, PART, Pace, PartialEpoch, part_seed, parts_of, require_part


@pytest.mark.parametrize(
    ("steps", "done", "expected"),
    [
        (1, 0, [(0, 1)]),
        (PART, 0, [(0, PART)]),
        (2 * PART + 1, 0, [(0, PART), (PART, 2 * PART), (2 * PART, 2 * PART + 1)]),
        (2 * PART + 1, 2 * PART, [(2 * PART, 2 * PART + 1)]),
    ],
)
def test_the_parts_cover_what_is_left(steps: int, done: int, expected: list[tuple[int, int]]) -> None:
    assert list(parts_of(steps, done)) == expected


def test_losses_are_summed_alike_whether_a_state_is_saved_or_not() -> None:
    """A state ends a group of losses, which on a GPU are checked and summed together; a part ends with one anyway."""
    assert PART % STEPS_BETWEEN_CHECKS == 0


def test_each_part_has_a_seed_of_its_own_and_the_first_that_of_the_epoch() -> None:
    seeds = [part_seed(begin, 5, "epoch", 2, 0) for begin in (0, PART, 2 * PART)]
    assert len(set(seeds)) == 3 and seeds[0] == derive_seed(5, "epoch", 2, 0)
    assert seeds[1] == derive_seed(5, "epoch", 2, 0, 1)


def test_what_is_done_is_found_again_in_the_progress() -> None:
    done = PartialEpoch(PART, 12.5, 2 * PART, {"mse": 0.25})
    assert PartialEpoch.of({"epoch": 3, **done.progress}) == done
    assert NOTHING.progress == {} and PartialEpoch.of({"epoch": 3}) == NOTHING


def test_more_steps_than_an_epoch_has_are_refused() -> None:
    require_part(PartialEpoch(99), 100, Path("state"))
    with pytest.raises(
        InputError, match="less than an epoch of 100 steps in the state .*, but it says that 1,000 are done; remove"
    ):
        require_part(PartialEpoch(1000), 100, Path("state"))


def test_saving_becomes_rarer_where_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(parts.time, "monotonic", lambda: now)
    pace = Pace(10, 0.01)
    now = 10.0
    assert not pace.due
    now = 10.1
    assert pace.due
    with pace.saving():  # takes 0.1 s: the least pause is that of 10 s
        now = 10.2
    now = 20.3
    assert pace.due
    with pace.saving():  # takes 2 s, which is a hundredth of 200
        now = 22.3
    now = 222.2
    assert not pace.due
    now = 222.4
    assert pace.due
