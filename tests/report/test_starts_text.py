"""The verdict on initialisations, and their picture, name the highest mean, and what is and is not distinguished from it."""

from dataclasses import replace

import pytest

from medtransfer.analysis.starts import Compared, Start, StartComparison
from medtransfer.report.starts_text import UNEVEN, explain, verdict, verdicts
from medtransfer.tasks import TASKS


def compared(*rows: tuple[str, float, bool | None], target: str = "heart") -> StartComparison:
    return StartComparison(
        target, "full", "", "", TASKS["segmentation"].primary,
        tuple(
            Compared(Start(f"unet {name}", "unet", name, 1, {"": {1: mean}}, {}), mean, None, None, None, None, kept)
            for name, mean, kept in rows
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [("a, epoch 10", 0.8, True), ("b, epoch 3", 0.79, True), ("random", 0.7, False)],
            "unet a at epoch 10 has the highest mean Dice, 0.800; with 95.0 % confidence the best is among it and unet b at "
            "epoch 3.",
        ),
        (
            [("a", 0.8, True), ("b", 0.7, False)],
            "unet a has the highest mean Dice, 0.800; with 95.0 % confidence it is the best.",
        ),
        (
            [("a", 0.8, True), ("b", 0.7, True)],
            "unet a has the highest mean Dice, 0.800; the other one may be the best, too.",
        ),
        (
            [("a", 0.8, True), ("b", 0.7, True), ("c", 0.7, True)],
            "unet a has the highest mean Dice, 0.800; each of the others may be the best, too.",
        ),
        ([("a", 0.8, True)], "unet a has the highest mean Dice, 0.800."),
        (
            [("a", 0.8, None), ("b", 0.7, None)],
            "unet a has the highest mean Dice, 0.800; which is the best is not tested, since a start has a single repetition.",
        ),
    ],
)
def test_the_best_mean_and_what_is_told_from_it(rows: list[tuple[str, float, bool | None]], said: str) -> None:
    assert verdict(compared(*rows), 0.95) == said


def test_starts_of_different_seeds_are_said_to_be() -> None:
    even = compared(("a", 0.8, True), ("b", 0.7, False))
    first, second = even.rows
    more = replace(second, start=replace(second.start, repeats={"": {1: 0.6, 2: 0.8}}))
    assert verdict(replace(even, rows=(first, more)), 0.95) == f"{verdict(even, 0.95)} {UNEVEN}"
    one = replace(first, start=replace(first.start, seedless=True))
    other = replace(second, start=replace(second.start, repeats={"": {2: 0.7}}, seedless=True))
    assert verdict(replace(even, rows=(one, other)), 0.95) == verdict(even, 0.95)
    single = replace(even, rows=(replace(first, unbeaten=None), replace(more, unbeaten=None)))
    assert verdict(single, 0.95).endswith(f"a single repetition. {UNEVEN}")


@pytest.mark.parametrize(
    ("constant", "clause"), [(0.8, ", no higher than that of the same label in every pixel, 0.800"), (0.79, ""), (1.0, "")]
)
def test_a_best_mean_no_higher_than_that_of_the_same_label_everywhere_is_named(constant: float, clause: str) -> None:
    best = 1.0 if constant == 1.0 else 0.8
    said = verdict(replace(compared(("a", best, True), ("b", 0.7, False)), constant=constant), 0.95)
    assert said == f"unet a has the highest mean Dice, {best:.3f}{clause}; with 95.0 % confidence it is the best."


def test_of_many_targets_the_terminal_names_some() -> None:
    rows = [("a", 0.8, True), ("b", 0.7, False)]
    lines = verdicts([compared(*rows, target=f"t{number}") for number in range(9)], 0.95)
    assert len(lines) == 7 and lines[0].startswith("t0, full: unet a has") and lines[-1] == "3 further comparisons on the page."
    assert len(verdicts([compared(*rows)], 0.95)) == 1


def test_a_chain_of_sources_is_explained_where_there_is_one() -> None:
    for name, chained in (("supervised>chests", True), ("supervised", False)):
        assert ("named by their chain" in explain([compared((name, 0.8, True))], 0.95, 0.01, None)) == chained
