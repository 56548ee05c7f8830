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
        ({"lbtc": {"window": 3, "anchors": 0}}, r"score.settings.lbtc.anchors: .*greater than 0 \(got 0\)"),
        ({"lbtc": {"window": 3}}, "score.settings.lbtc.anchors: is missing"),
        ({"lbtc": {"anchor": 5}}, r"score.settings.lbtc.anchor: is not a known key \(did you mean anchors\?\)"),
        ({"robustness": {"pixels": 5}}, "score.settings.robustness.pixels: is not a known key"),
    ],
)
def test_options_that_fit_no_indicator_are_refused(tiny_params: Callable[..., Params], settings: dict[str, Any], message: str):
    defaults = tiny_params().score.settings
    section = tiny_params().score.model_copy(update={"settings": {**defaults, **settings}})
    with pytest.raises(InputError, match=message):
        options_of(section)


def test_the_sample_is_one_for_all(tiny_params: Callable[..., Params]):
    assert options_of(tiny_params({"score.pixels": 17}).score).pixels == 17
