"""Rules that choose a candidate by its score, during a pretraining or from stored scores.

To add one, write a class in a file here and add one line to `RULES`; the tests cover every entry.
"""

import math
from typing import Any

from medtransfer.errors import InputError
from medtransfer.selectors.rules.best import Best
from medtransfer.selectors.rules.contract import Choice, Parameter, Rule, Seen
from medtransfer.selectors.rules.first_drop import FirstDrop, KeepStop
from medtransfer.selectors.rules.least_rise import LeastRise
from medtransfer.selectors.rules.observation import Observation
from medtransfer.selectors.rules.patience import Patience
from medtransfer.selectors.rules.smoothed import Smoothed
from medtransfer.selectors.rules.walk import Walk
from medtransfer.selectors.rules.with_accuracy import WithAccuracy

__all__ = ["RULES", "Choice", "Observation", "Parameter", "Rule", "Seen", "find_stopping_rule"]

RULES: dict[str, type[Rule[Any]]] = {
    "best": Best,
    "first-drop": FirstDrop,
    "keep-stop": KeepStop,
    "patience": Patience,
    "least-rise": LeastRise,
    "smoothed": Smoothed,
    "with-accuracy": WithAccuracy,
}


def find_stopping_rule(name: str, key: str) -> type[Walk]:
    """Return the rule of a name, one that can stop a pretraining.

    Args:
        name: a key of RULES, with the value of its parameter where it shall not be the default: `patience-3`.
        key: what names it, such as a key of params.yaml, for the message.

    Raises:
        InputError: there is no such rule, it observes every candidate, or its parameter cannot have the value.
    """
    known = {known: rule for known, rule in RULES.items() if issubclass(rule, Walk)}
    if not isinstance(name, str):
        raise InputError(f"expected {key} as a name out of {', '.join(known)}, but got {name!r}")
    if name in known:
        return known[name]
    family, _, text = name.rpartition("-")
    parameter = known[family].parameter if family in known else None
    if parameter is None:
        raise InputError(f"expected {key} out of {', '.join(known)}, but got {name!r}")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not parameter.accepts(value):
        raise InputError(f"expected {key} {family}-<{parameter.meaning}>, {parameter.kind}, but got {name!r}")
    return known[family].at(value, name)
