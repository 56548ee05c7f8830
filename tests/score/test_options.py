from collections.abc import Callable
from typing import Any

import pytest

from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.score.options import options_of


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"moon": {}}, "expected score.settings to name indicators, which are robustness, .*but got 'moon'"),
        ({"logme": {"pixels": 0}}, r"score.settings.logme.pixels: .*greater than 0 \(got 0\)"),
        ({"logme": {"pixels": 5, "size": 1}}, "score.settings.logme.size: is not a known key"),
        ({"robustness": {"pixels": 5}}, "score.settings.robustness.pixels: is not a known key"),
        ({}, "score.settings.logme.pixels: is missing"),
    ],
)
def test_options_that_fit_no_indicator_are_refused(tiny_params: Callable[..., Params], settings: dict[str, Any], message: str):
    section = tiny_params().score.model_copy(update={"settings": settings})
    with pytest.raises(InputError, match=message):
        options_of(section)


def test_each_indicator_gets_its_own_options(tiny_params: Callable[..., Params]):
    own = options_of(tiny_params({"score.settings.logme.pixels": 7}).score).own
    assert own["logme"].model_dump() == {"pixels": 7} and own["robustness"].model_dump() == {}
