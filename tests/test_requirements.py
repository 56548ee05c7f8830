"""What a value of the params must be is said in the project's own words, whatever its type."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from medtransfer.config import Params
from medtransfer.config.requirements import requirement
from medtransfer.config.schema import values

PAIR = Annotated[list[int], Field(min_length=2, max_length=2)]
WRONG: list[tuple[Any, Any, str]] = [
    (values.Whole, "x", "must be a whole number"),
    (values.Whole, 1.5, "must be a whole number"),
    (values.Whole, True, "must be a number"),
    (values.Rate, "fast", "must be a number"),
    (values.Rate, None, "must be a number"),
    (values.Rate, 0, "must be greater than 0"),
    (values.Probability, 1.5, "must be at most 1"),
    (values.NonNegative, -1, "must be at least 0"),
    (values.Below, 0, "must be less than 0"),
    (Annotated[float, Field(allow_inf_nan=False)], float("inf"), "must be a finite number"),
    (bool, "maybe", "must be true or false"),
    (Literal["a", "b"], "c", "must be 'a' or 'b'"),
    (values.Name, "a/b", "must be of letters, digits, dots, hyphens and underscores, the first a letter or a digit"),
    (values.Name, 5, "must be a text"),
    (values.Name, "x" * 101, "must be of at most 100 characters"),
    (values.Place, "", "must be of 1 or more characters"),
    (list[int], "x", "must be a list such as [A, B]"),
    (dict[str, int], 3, "must be a mapping of keys to values"),
    (PAIR, [1], "must be of 2 or more entries"),
    (PAIR, [1, 2, 3], "must be of at most 2 entries"),
]
PYDANTICS = ("Input", "String", "valid ", "parse", "dictionary", "after validation")


@pytest.mark.parametrize(("kind", "value", "sentence"), WRONG)
def test_the_requirement_is_named(kind: Any, value: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as error:
        TypeAdapter(kind).validate_python(value)
    assert requirement(error.value.errors()[0]) == sentence


@pytest.mark.parametrize("value", ["no such value", -(10**12), [[]], {"x": {}}, 1.5, None, True], ids=repr)
def test_no_key_is_refused_in_pydantics_words(value: Any, tiny_params: Callable[..., Params]) -> None:
    """Whatever is written for any key."""
    params = tiny_params().model_dump(mode="json")
    said = list[str]()
    for section, entries in params.items():
        for key in entries:
            try:
                Params.model_validate({**params, section: {**entries, key: value}})
            except ValidationError as error:
                said += [requirement(each) for each in error.errors() if not each["type"].startswith(("missing", "extra", "union"))]
    assert said and not [text for text in said if any(word in text for word in PYDANTICS)]
