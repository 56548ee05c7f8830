"""What the section `study` plans beside what is judged."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from medtransfer.analysis.described import Described
from medtransfer.analysis.planned import compare_with_plan
from medtransfer.analysis.pool import Pool
from medtransfer.config.loaded_files import remember
from medtransfer.records import CellName
from medtransfer.tasks import TASKS

PLANNED = [
    CellName("lungs", "unet", "simple", epoch, mode, seed) for epoch, mode, seed in product((0, 5), ("full", "decoder"), (1, 2))
]


def pool(mode: str = "full", keys: tuple[tuple[int, int], ...] = ((0, 1), (0, 2), (5, 1), (5, 2)), **others: object) -> Pool:
    fields = {"source": "s", "origin": "simple", "encoder": "unet", "target": "lungs", "mode": mode}
    fields |= {name: str(others.pop(name)) for name in ("target", "size", "fold") if name in others}
    return Pool(fields, {}, dict.fromkeys(keys, 0.5), {}, (0, 5), TASKS["segmentation"].primary, **others)  # type: ignore[arg-type]


def compare(planned: Collection[CellName], pools: Sequence[Pool], ends: Collection[tuple[str, str]] = ()) -> tuple[str, ...]:
    return compare_with_plan(Described("p", planned=tuple(planned), unknown_ends=frozenset(ends)), pools)


def test_a_study_that_is_done_says_nothing() -> None:
    assert compare(PLANNED, [pool(), pool("decoder")]) == ()


def test_what_is_not_done_is_counted() -> None:
    (line,) = compare(PLANNED, [pool()])
    assert line == (
        "4 of the 8 fine-tunings that the section `study` plans are not in the store, such as e000 decoder s1 · unet-simple → "
        "lungs; `medtransfer grid`, or the study that they are of, makes them"
    )
    (line,) = compare(PLANNED, [pool(), pool("decoder", ((0, 1), (0, 2), (5, 1)))])
    assert line.startswith("1 of the 8 fine-tunings that the section `study` plans is not in the store, such as e005 decoder s2")


@pytest.mark.parametrize(
    ("further", "words"),
    [
        (pool("full", ((0, 3), (5, 3), (7, 1))), "3 fine-tunings are judged {}: epoch 7; seed 3"),
        (pool("linear", ((0, 1),)), "1 fine-tuning is judged {}: mode linear"),
        (pool("full", tuple((0, seed) for seed in range(3, 10))), "7 fine-tunings are judged {}: seed 3, 4, 5, 6, 3 more"),
        (
            pool(target="hearts", size="6", fold="1/2", keys=((0, 1),)),
            "1 fine-tuning is judged {}: target hearts; size 6; fold 1/2",
        ),
    ],
)
def test_what_is_judged_beyond_is_counted(further: Pool, words: str) -> None:
    (line,) = compare(PLANNED, [pool(), pool("decoder"), further])
    assert line == words.format("that the section `study` does not plan")


def test_a_combination_may_be_planned_by_none() -> None:
    once = [cell for cell in PLANNED if cell.epoch or cell.mode == "full"]
    (line,) = compare(once, [pool(), pool("decoder")])
    assert line.endswith("2 fine-tunings are judged that the section `study` does not plan: other combinations of what it names")


def test_results_that_are_equal_with_every_seed_lack_none() -> None:
    assert compare(PLANNED, [pool(keys=((0, 1), (5, 1)), seedless=True), pool("decoder")]) == ()


def test_sizes_are_those_of_the_plan() -> None:
    planned = [CellName("lungs", "unet", "simple", 0, "full", 1, size=size, fold=1, folds=2) for size in (6, 0.5)]
    assert compare(planned, [pool(size="6", fold="1/2", keys=((0, 1),)), pool(size="50%", fold="1/2", keys=((0, 1),))]) == ()


def test_epochs_that_a_pretraining_may_not_have_are_not_missed() -> None:
    other = [replace(cell, origin="advanced") for cell in PLANNED]
    first = pool(keys=((0, 1), (0, 2)))
    assert compare(PLANNED, [first], [("unet", "simple")]) == ()
    (line,) = compare([*PLANNED, *other], [first], [("unet", "simple"), ("unet", "advanced")])
    assert line.startswith("8 of the 16 fine-tunings")  # nothing of the other pretraining is known


def test_the_proposed_command_has_the_parameters_of_this_one() -> None:
    remember([Path("other file.yaml")])
    (line,) = compare(PLANNED, [pool()])
    assert "`medtransfer grid --params 'other file.yaml'`, or the study" in line


def test_a_section_of_another_study_says_nothing() -> None:
    assert compare(PLANNED, [pool(target="hearts")]) == () and compare([], [pool()]) == () == compare_with_plan(None, [pool()])
