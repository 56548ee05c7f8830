"""Which configurations robustness is explained on."""

from types import SimpleNamespace
from typing import Any

import pytest

from medtransfer.errors import InputError
from medtransfer.explain import cases

GRID = "; make what is missing with `medtransfer grid`"


@pytest.mark.parametrize(
    ("pools", "reason", "end"),
    [
        ([SimpleNamespace(name="a", complete=True, robustness={1: 0.5})], "no model learned", ""),
        ([SimpleNamespace(name="a", complete=False, robustness={1: 0.5})], "incomplete", GRID),
        ([SimpleNamespace(name="a", complete=True, robustness={})], "no model learned", GRID),
        ([], "no finished fine-tuning", GRID),
    ],
    ids=["nothing learned", "incomplete", "not scored", "nothing"],
)
def test_a_command_is_proposed_where_something_is_missing(
    pools: list[Any], reason: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no model learned, no command that ran before helps."""
    monkeypatch.setattr(cases, "unjudged", lambda pool, least: reason)
    with pytest.raises(InputError) as error:
        cases.select(pools, 0.1)
    assert str(error.value).endswith(f": {reason}){end}")
