"""Finished fine-tunings of a study: what their starts are called, and what counts as one repetition."""

import json

import pytest

from medtransfer import tracking
from medtransfer.records import CellName
from medtransfer.studies.finished import Finished, Start, by_repetition, name_origins, name_starts, read_continued, repetitions


def start(origin: str = "simple", epoch: int = 10, random: bool = False, folds: int | None = None, *digests: str) -> Start:
    return Start("unet", origin, epoch, random, folds, digests)


def finished(value: float, seed: int, run: str, fold: int | None = None, **changed: object) -> Finished:
    cell = CellName("sample", "unet", "simple", 10, "full", seed, fold=fold, folds=2 if fold else None)
    return Finished(cell, "dice", value, 1.0, run, **changed)  # type: ignore[arg-type]


def test_random_weights_are_named_by_their_origin_where_there_are_several() -> None:
    one = start("simple", 0, True)
    assert name_origins([one, start()]) == {one: "random", start(): "simple"}
    other = start("advanced", 0, True)
    assert name_origins([one, other]) == {one: "random of simple", other: "random of advanced"}
    elsewhere = other._replace(encoder="swin")
    assert name_origins([one, elsewhere]) == {one: "random", elsewhere: "random"}
    assert name_starts({start("later", 0): [""]}) == {start("later", 0): "unet later, epoch 0"}


@pytest.mark.parametrize(
    ("first", "second", "ends"),
    [
        ((start(folds=2), ["a"]), (start(folds=3), ["b", "c"]), (" (a)", " (b, c)")),
        ((start(folds=2), [""]), (start(folds=3), [""]), (" (2 folds)", " (3 folds)")),
        ((start(), [""]), (start(folds=3), [""]), ("", " (3 folds)")),
        ((start("simple", 10, False, None, "p1", "d", "r"), ["a"]), (start("simple", 10, False, None, "p2", "d", "r"), ["a"]),
         (" [pretraining p1]", " [pretraining p2]")),
        ((start("simple", 10, False, None, "p", "d", "recipe-one"), [""]),
         (start("simple", 10, False, None, "p", "d", "another"), [""]), (" [protocol recipe-o]", " [protocol another]")),
        ((start(), ["a"]), (start(epoch=5), ["a"]), ("", "")),
    ],
)  # fmt: skip
def test_starts_of_one_name_are_told_apart(
    first: tuple[Start, list[str]], second: tuple[Start, list[str]], ends: tuple[str, str]
) -> None:
    names = name_starts(dict([first, second]))
    assert [names[one].removeprefix(f"unet simple, epoch {one.epoch}") for one, _ in (first, second)] == list(ends)


def test_a_run_of_several_parts_counts_once_and_the_seeds_of_a_fold_are_one_repetition() -> None:
    twice = [finished(0.5, 1, "a"), finished(0.7, 2, "b"), finished(0.5, 1, "a")]
    assert [[one.run for one in group] for group in by_repetition(twice)] == [["a"], ["b"]]
    folds = [finished(0.2, 1, "a", 1), finished(0.4, 2, "b", 1), finished(0.6, 1, "c", 2), finished(0.2, 1, "a", 1)]
    (values,) = repetitions(folds).values()
    assert values == [pytest.approx(0.3), 0.6]
    assert len(repetitions([finished(0.2, 1, "a"), finished(0.3, 2, "b", digests=("other",))])) == 2


@pytest.mark.parametrize(
    ("params", "continued"),
    [
        ({}, False), ({"parents": json.dumps([{"origin": "simple", "epoch": 0}])}, False),
        ({"parents": json.dumps([{"origin": "simple", "epoch": 5}])}, True), ({"parents": "null"}, False), ({"parents": ""}, False),
    ],
)  # fmt: skip
def test_pretrainings_that_continue_from_trained_weights_are_known(
    params: dict[str, str], continued: bool, workplace: object
) -> None:
    record = tracking.RunRecord("unet-later", "c", {"pretraining": "p", **params}, {})
    tracking.write_runs("pretrain", [record, tracking.RunRecord("older", "d", {"encoder": "unet"}, {})], "runs")
    assert read_continued() == ({"p"} if continued else set())
