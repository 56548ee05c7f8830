"""Split rules: official, drawn, from a file; groups stay together, and the draw depends on the seed alone."""

from pathlib import Path
from typing import Any

import pytest

from medtransfer.errors import InputError
from medtransfer.prepare.readers.contract import Item
from medtransfer.prepare.splits import assign_splits


def item(group: str, split: str | None = "train", source: str = "") -> Item:
    return Item(split, group, source or f"images/{group}.png", (), 1, lambda: ())


TEN = [item(f"p{number}", source=f"images/p{number}_{part}.png") for number in range(10) for part in "ab"]


def groups(splits: list[str], name: str) -> set[str]:
    return {item.group for item, split in zip(TEN, splits, strict=True) if split == name}


@pytest.mark.parametrize(("fraction", "count"), [(0.3, 3), (0.001, 1)])
def test_a_fraction_draws_whole_groups(fraction: float, count: int) -> None:
    splits = assign_splits(TEN, {"test": fraction, "seed": 1}, 0.0)
    assert len(groups(splits, "test")) == count
    assert not groups(splits, "test") & groups(splits, "train")


def test_the_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    splits = assign_splits(TEN, {"test": 0.3, "seed": 1}, 0.0)
    assert assign_splits(TEN[::-1], {"test": 0.3, "seed": 1}, 0.0) == splits[::-1]
    assert any(assign_splits(TEN, {"test": 0.3, "seed": seed}, 0.0) != splits for seed in range(2, 6))


def test_validation_comes_from_the_training_groups_only() -> None:
    without = assign_splits(TEN, {"test": 0.3, "seed": 1}, 0.0)
    splits = assign_splits(TEN, {"test": 0.3, "seed": 1}, 0.3)
    assert groups(splits, "test") == groups(without, "test")
    assert len(groups(splits, "validation")) == 2
    assert groups(splits, "validation") < groups(without, "train")


@pytest.mark.parametrize("name", ["test", "validation"])
def test_a_draw_takes_groups_that_share_images_together(name: str) -> None:
    fraction = {"test": 0.3, "validation": 0.0} if name == "test" else {"test": 0.1, "validation": 0.3}
    rule = {"test": fraction["test"], "seed": 1}
    alone = assign_splits(TEN, rule, fraction["validation"])
    drawn = min(groups(alone, name))
    twin = min(groups(alone, "train"))
    splits = assign_splits(TEN, rule, fraction["validation"], {drawn: drawn, twin: drawn})
    assert {drawn, twin} <= groups(splits, name)
    assert assign_splits(TEN, rule, fraction["validation"], {}) == alone


def write_csv(path: Path, *lines: str) -> dict[str, Any]:
    path.write_text("\n".join(["source,split", *lines]) + "\n")
    return {"file": str(path)}


def test_a_file_may_name_sources_stems_and_groups(tmp_path: Path) -> None:
    items = [item("a", None), item("b", None), item("c", None, "images/c_1.png"), item("c", None, "images/c_2.png")]
    rule = write_csv(tmp_path / "s.csv", "images/a.png,train", "b,validation", "c,test")
    assert assign_splits(items, rule, 0.0) == ["train", "validation", "test", "test"]


def test_images_that_a_file_does_not_name_keep_their_published_split(tmp_path: Path) -> None:
    items = [item("a"), item("b", "test"), item("c", "test")]
    assert assign_splits(items, write_csv(tmp_path / "s.csv", "b,train"), 0.0) == ["train", "train", "test"]
    with pytest.raises(InputError, match=r"a line for every image .* images/d.png \(group d\) has none \(1 such\)"):
        assign_splits([*items, item("d", None)], write_csv(tmp_path / "s.csv", "b,train"), 0.0)


def test_a_stem_of_several_images_is_refused(tmp_path: Path) -> None:
    items = [item("a", "train", "a/1.png"), item("b", "train", "b/1.png"), item("c", "test")]
    with pytest.raises(InputError, match=r"one image per line of .*s.csv, but '1' is the stem of 2 images; name their sources"):
        assign_splits(items, write_csv(tmp_path / "s.csv", "1,test"), 0.0)
    assert assign_splits(items, write_csv(tmp_path / "s.csv", "a/1.png,test"), 0.0) == ["test", "train", "test"]


def test_composed_and_decomposed_names_are_the_same(tmp_path: Path) -> None:
    decomposed, whole = "u\u0308ber", "\u00fcber"
    items = [item(decomposed, None), item(whole, None, "images/1.png"), item("c", None)]
    assert assign_splits(items, write_csv(tmp_path / "s.csv", f"{whole},train", "c,test"), 0.0) == ["train", "train", "test"]
    assert assign_splits(items, write_csv(tmp_path / "s.csv", f"{decomposed},train", "c,test"), 0.0) == ["train", "train", "test"]


def test_a_group_in_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every group .* in one split, but 'a' is in train and test"):
        assign_splits([item("a"), item("a", "test", "images/other.png")], "official", 0.0)
    rule = write_csv(tmp_path / "s.csv", "p0_a,train", "p0_b,test", *(f"p{number},train" for number in range(1, 10)))
    with pytest.raises(InputError, match="'p0' is in train and test"):
        assign_splits(TEN, rule, 0.0)


def test_a_draw_without_a_seed_is_that_of_seed_0() -> None:
    assert assign_splits(TEN, {"test": 0.3}, 0.0) == assign_splits(TEN, {"test": 0.3, "seed": 0}, 0.0)


@pytest.mark.parametrize(
    ("rule", "validation", "message"),
    [
        ("offical", 0.0, r"expected `split` to be .*, but got 'offical' \(did you mean official\?\)"),
        ("random", 0.0, "expected `split` to be `official`, .* but got 'random'"),
        ({"seed": 0}, 0.0, "expected `split` to be"),
        ({"test": 25}, 0.0, "the fraction for test to be between 0 and 1, such as 0.25 for a quarter, but got 25"),
        ({"test": 1.5, "seed": 0}, 0.0, "the fraction for test to be between 0 and 1, .* but got 1.5"),
        ({"test": True, "seed": 0}, 0.0, "the fraction for test"),
        ({"test": 0.2, "seed": "x"}, 0.0, "seed to be a whole number"),
        ({"test": 0.99, "seed": 0}, 0.0, "groups .* left to train on, but test takes 10 of 10"),
        ("official", 0.0, "images in the split 'test', but all 20 are in train, such as images/p0_a.png; .* `split` to {test"),
    ],
)
def test_bad_rules_are_refused(rule: Any, validation: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign_splits(TEN, rule, validation)


def test_official_without_split_folders_is_refused() -> None:
    assert assign_splits([item("a"), item("b", "test")], "official", 0.0) == ["train", "test"]
    with pytest.raises(InputError, match="the folders train and test for `split: official`, but images/a.png is in neither"):
        assign_splits([item("a", None)], "official", 0.0)


def test_a_file_with_validation_excludes_a_fraction(tmp_path: Path) -> None:
    rule = write_csv(tmp_path / "s.csv", "a,train", "b,validation", "c,test")
    with pytest.raises(InputError, match="`validation: 0.0` beside a split file.*{splits: {val: train}}"):
        assign_splits([item("a"), item("b"), item("c")], rule, 0.2)


@pytest.mark.parametrize(("validation", "count"), [(0.0, 0), (0.3, 3)])
def test_without_a_test_split_validation_groups_are_drawn_if_asked_for(validation: float, count: int) -> None:
    splits = assign_splits(TEN, "none", validation)
    assert len(groups(splits, "validation")) == count and set(splits) == {"train", "validation"} - (
        set() if count else {"validation"}
    )
    assert not groups(splits, "validation") & groups(splits, "train")


@pytest.mark.parametrize(
    ("published", "drawn"),
    [([None] * 10, True), (["train"] * 10, True), ([None, *["train"] * 9], True), (["test", *["train"] * 9], False)],
)
def test_auto_draws_a_test_split_where_none_is_published(published: list[str | None], drawn: bool) -> None:
    items = [item(f"p{number}", split) for number, split in enumerate(published)]
    splits = assign_splits(items, "auto", 0.0)
    assert splits.count("test") == (2 if drawn else 1) and (splits == published) is not drawn


def test_auto_takes_published_validation_images_for_what_they_are() -> None:
    with pytest.raises(InputError, match="expected images in the split 'test', but all 2 are in train and validation"):
        assign_splits([item("a"), item("b", "validation")], "auto", 0.0)
