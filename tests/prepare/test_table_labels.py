"""Labels from the fields of tables: findings, classes, uncertain and blank values."""

import re
from typing import Any

import numpy as np
import pytest
import yaml

from medtransfer.errors import InputError
from medtransfer.prepare.readers.table_labels import OPTIONS, ClassRule, FindingRule, check_label_options, plain, sort_names


def label(fields: dict[str, str], **options: Any) -> list[int] | int | None:
    """Return the label of one row, by the options."""
    chosen = OPTIONS | options
    check_label_options(chosen)
    rule = FindingRule(chosen)
    states = rule.read(fields, "line 2 of t.csv")
    reduced = None if states is None else rule.reduce(states, "line 2 of t.csv")
    return None if reduced is None else reduced.tolist()


@pytest.mark.parametrize(
    ("policy", "expected"), [("ones", 1), ("zeros", 0), ("ignore", 255), ("lsr-ones", 254), ("lsr-zeros", 254)]
)
def test_uncertain_findings_follow_the_policy(policy: str, expected: int) -> None:
    options = {
        "task": "multilabel",
        "columns": ["a", "b", "c", "d"],
        "uncertain_values": [-1],
        "uncertain": policy,
        "blank": "negative",
    }
    assert label({"a": "1.0", "b": "0.0", "c": "-1.0", "d": ""}, **options) == [1, 0, expected, 0]


@pytest.mark.parametrize(("blank", "expected"), [("negative", [1, 0]), ("unknown", [1, 255]), ("leave-out", None)])
def test_blank_findings(blank: str, expected: list[int] | None) -> None:
    assert label({"a": "1", "b": " "}, task="multilabel", columns=["a", "b"], blank=blank) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [("Edema|Mass", [1, 0, 1]), ("Mass", [0, 0, 1]), ("No Finding", [0, 0, 0]), ("Hernia | Edema", [1, 1, 0])],
)
def test_joined_findings(field: str, expected: list[int]) -> None:
    options = {"task": "multilabel", "column": "x", "separator": "|", "classes": ["Edema", "Hernia", "Mass"], "none": "No Finding"}
    assert label({"x": field}, **options) == expected
    assert label({"x": field}, **options | {"task": "binary", "classes": ["Mass"], "others": "negative"}) == expected[2]


FOUR = {"task": "multiclass", "columns": ["a", "b"], "positive": ["YES"], "negative": ["NO"]}


@pytest.mark.parametrize(
    ("fields", "options", "expected"),
    [
        (("YES", "NO"), {}, 0),
        (("no", "yes"), {}, 1),
        (("NO", "NO"), {"none": "other"}, 2),
        (("NO", "NO"), {"none": "other", "classes": ["other", "a", "b"]}, 0),
        (("YES", "YES"), {"several": "leave-out"}, None),
        (("YES", ""), {"blank": "unknown"}, None),
        (("YES", "HEDGE"), {"uncertain_values": ["HEDGE"], "uncertain": "zeros"}, 0),
    ],
)
def test_one_class_from_several_columns(fields: tuple[str, str], options: dict[str, Any], expected: int | None) -> None:
    assert label(dict(zip("ab", fields, strict=True)), **FOUR | options) == expected


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"a": "2"}, {"column": "a"}, r"one of '0', '1' in 'a' of line 2 of t.csv, but got '2'; list it in the option positive"),
        ({"a": ""}, {"column": "a"}, "but the field is blank; set the option blank to negative, unknown or leave-out"),
        (
            {"a": "1", "b": "1"},
            {"task": "multiclass", "columns": ["a", "b"]},
            "one class in line 2 of t.csv, but got a, b; set `several",
        ),
        ({"a": "0", "b": "0"}, {"task": "multiclass", "columns": ["a", "b"]}, "but got none; name the class of such images"),
        ({"a": "x|y"}, {"column": "a", "separator": "|", "classes": ["x"]}, "expected some of x in 'a' .* but got 'y'; name it"),
        ({"a": "x|0"}, {"column": "a", "separator": "|", "classes": ["x"], "none": "0"}, "expected '0' alone in 'a'"),
        ({}, {"column": "a", "columns": ["b"]}, "column, of one column, or columns, .* but got both"),
        ({}, {"column": "a", "separator": "|"}, "the option classes beside separator, but it is missing; list the findings"),
        ({}, {"columns": ["a"], "separator": "|"}, "the option column beside separator, but it is missing; name the column"),
        ({}, {"column": "a", "uncertain_values": [-1]}, "option uncertain to say what uncertain labels are, one of ones, zeros"),
        ({}, {"column": "a", "uncertain": "half"}, "option uncertain to be one of ones"),
        ({}, {"column": "a", "uncertain": "lsr-ones"}, "ones, zeros or ignore for the task binary, but got 'lsr-ones'"),
        ({}, {"column": "a", "positive": [True]}, r"positive to list texts or numbers, .* but got \[True\]"),
        ({}, {"column": "a", "positive": [1, 0]}, "in one of the options positive, negative and uncertain_values, but 0 is in two"),
        ({}, {"columns": ["a", "b"]}, r"one class, the positive one, for the task binary, but got \['a', 'b'\]"),
        ({}, {"task": "multilabel", "columns": ["a"], "classes": ["b"]}, r"a column for each of b, but the options name \['a'\]"),
        ({}, {"task": "ordinal", "columns": ["a"]}, "one column of grades for the task ordinal"),
        ({}, {}, "the option column to name a column, or columns to list .*, but got neither$"),
    ],
)
def test_labels_without_a_meaning_are_refused(fields: dict[str, str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        label(fields, **options)


def test_findings_of_several_rows_are_joined() -> None:
    rule = FindingRule(OPTIONS | {"task": "multilabel", "columns": list("abcd")})
    assert rule.join([(0, 0, 255, 254), (1, 255, 254, 1), (0, 0, 0, 0)]) == (1, 255, 254, 1)


@pytest.mark.parametrize(
    ("options", "values", "classes", "numbers"),
    [
        ({}, ["10", "9", "2", "2"], ("2", "9", "10"), [2, 1, 0, 0]),
        ({"labels": {0: "none", 1: "mild"}}, ["1.0", "0"], ("none", "mild"), [1, 0]),
        ({"labels": {0: "none", 1: "mild"}, "classes": ["mild", "none"]}, ["1", "0"], ("mild", "none"), [0, 1]),
        ({"classes": ["lo", "hi"], "task": "ordinal"}, ["hi", "LO"], ("lo", "hi"), [1, 0]),
    ],
)
def test_a_column_of_classes(options: dict[str, Any], values: list[str], classes: tuple[str, ...], numbers: list[int]) -> None:
    rule = ClassRule(OPTIONS | {"task": "multiclass", "column": "x"} | options, values)
    assert rule.classes == classes
    assert [int(rule.reduce(rule.read({"x": value}, ""), "")) for value in values] == numbers


@pytest.mark.parametrize(
    ("values", "pair", "classes", "numbers"),
    [
        (["b", "a", "B"], ("B", "b"), ["B", "a"], [0, 1, 0]),
        (["1", "2", "1.0", "2"], ("1", "1.0"), ["1", "2"], [0, 1, 0, 1]),
        (["10", "9.0", "9", "010"], ("9", "9.0"), ["9", "010"], [1, 0, 0, 1]),
    ],
)
def test_classes_that_are_read_as_one_are_refused_with_a_remedy_that_works(
    values: list[str], pair: tuple[str, str], classes: list[str], numbers: list[int]
) -> None:
    options = OPTIONS | {"task": "multiclass", "column": "x"}
    with pytest.raises(InputError) as refused:
        ClassRule(options, values)
    message = str(refused.value)
    assert (
        f"but {pair[0]!r} and {pair[1]!r} in the column 'x' do not; name one of them alone in the option classes, which" in message
    )
    proposed = yaml.safe_load(message.split("such as `classes: ")[1].rstrip("`"))
    assert proposed == classes
    rule = ClassRule(options | {"classes": proposed}, values)
    assert [int(rule.reduce(rule.read({"x": value}, ""), "")) for value in values] == numbers


def test_labels_that_are_read_as_one_are_refused_with_a_remedy_that_works() -> None:
    options = OPTIONS | {"task": "multiclass", "column": "x"}
    with pytest.raises(
        InputError, match="each value once in the option labels, but 1 is there as a number and as text; remove one"
    ):
        ClassRule(options | {"labels": {1: "a", "1": "b", 2: "c"}}, ["1", "2"])
    with pytest.raises(InputError, match="other spellings, too$"):  # a single class is none to propose
        ClassRule(options, ["B", "b"])
    with pytest.raises(
        InputError, match=r"'1' and '1\.0' in the column 'x' do not; name one of them alone in the option labels, which"
    ):
        ClassRule(options | {"labels": {1: "a", "1.0": "a", 2: "b"}}, ["1", "1.0", "2"])
    rule = ClassRule(options | {"labels": {1: "a", 2: "b"}}, ["1", "1.0", "2"])
    assert [int(rule.reduce(rule.read({"x": value}, ""), "")) for value in ("1", "1.0", "2")] == [0, 0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "ordinal"}, "the option classes to name the grades in their order"),
        ({"labels": {0: "a"}}, r"two classes or more for the task multiclass, but got \['a'\]"),
        ({"labels": {0: "a"}, "classes": ["b", "c"]}, "map values to one of b, c, but got 'a'"),
        ({"labels": ["a"]}, "the option labels to map values of the table"),
    ],
)
def test_classes_that_cannot_be_numbered_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClassRule(OPTIONS | {"task": "multiclass", "column": "x"} | options, ["1"])


def test_unknown_and_blank_classes() -> None:
    rule = ClassRule(OPTIONS | {"task": "multiclass", "column": "x", "classes": ["a", "b"], "blank": "leave-out"}, [])
    assert rule.read({"x": ""}, "line 2") is None
    with pytest.raises(InputError, match=r"one of \['a', 'b'\] in 'x' of line 3, but got 'c'; name its class"):
        rule.read({"x": "c"}, "line 3")
    with pytest.raises(InputError, match="findings to join"):
        rule.join([(0,), (1,)])


@pytest.mark.parametrize("missing", ["NA", "n/a", "#N/A", "NaN", "null", "NULL", " ? "])
def test_a_missing_label_is_no_class_unless_the_options_say_so(missing: str) -> None:
    chosen, values = OPTIONS | {"task": "multiclass", "column": "x"}, ["b", missing, "a", missing]
    with pytest.raises(InputError, match=re.escape(
        f"but 2 rows have {missing.strip()!r} there, which usually means that it is missing; to leave such rows out, set "
        '`where: {"x": ["a", "b"]}`, and if it is a class, list it with the others in the option classes'
    )):  # fmt: skip
        ClassRule(chosen, values)
    assert ClassRule(chosen | {"classes": ["a", "b", missing.strip()]}, values).read({"x": missing}, "line 2") == (2,)


def test_rows_that_are_left_out_already_stay_so() -> None:
    chosen = OPTIONS | {"task": "multiclass", "column": "x", "where": {"view": ["PA"]}}
    with pytest.raises(InputError, match=re.escape('set `where: {"view": ["PA"], "x": ["a", "b"]}`')):
        ClassRule(chosen, ["a", "b", "NA"])


def test_no_rows_are_proposed_where_too_few_classes_would_be_left() -> None:
    with pytest.raises(
        InputError, match=r"but 1 row has 'NA' there, which usually means that it is missing; if it is a class, list"
    ):
        ClassRule(OPTIONS | {"task": "multiclass", "column": "x"}, ["NA", "a"])


@pytest.mark.parametrize("name", ["none", "unknown", "Nana", "-", "no finding"])
def test_names_that_may_well_be_classes_are(name: str) -> None:
    assert name in ClassRule(OPTIONS | {"task": "multiclass", "column": "x"}, [name, "z"]).classes


@pytest.mark.parametrize(("one", "other", "same"), [
    (1, "1.0", True), ("YES", "yes", True), ("u\u0308", "\u00fc", True), ("nan", "NaN", True), ("01", "1", True), ("a", "b", False),
])  # fmt: skip
def test_values_are_compared_by_their_meaning(one: Any, other: Any, same: bool) -> None:
    assert (plain(one) == plain(other)) == same


def test_names_are_sorted_by_number_where_they_are_numbers() -> None:
    assert sort_names({"10", "9", "-1"}) == ["-1", "9", "10"] and sort_names({"b", "10", "a"}) == ["10", "a", "b"]
    assert isinstance(FindingRule(OPTIONS | {"column": "x"}).reduce((1,), ""), np.generic)
