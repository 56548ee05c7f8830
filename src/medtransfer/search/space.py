"""Settings that a search tries: those of the params for which scores are stored."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from medtransfer.config import Margins, Search
from medtransfer.errors import InputError
from medtransfer.indicators.registry import ALL, INDICATORS
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.search.evaluate import Case, Measured
from medtransfer.search.settings import ROBUSTNESS, IndicatorSetting, Tried, columns, remoteness


def measured_in_all(cases: Sequence[Case]) -> Measured:
    """Return the settings at which all cases have scores."""
    margins = [case.measured.margins for case in cases if case.measured.margins is not None]
    pairs = frozenset.intersection(*(case.measured.pairs for case in cases))
    return Measured(pairs, frozenset.intersection(*margins) if margins else None)


def list_indicators(asked: Sequence[str], cases: Sequence[Case]) -> tuple[list[str], list[str]]:
    """List the indicators to try, and sentences on those that only some configurations were scored by.

    Args:
        asked: their names; with ALL, those at which every configuration was scored.
        cases: all configurations.

    Raises:
        InputError: one was not measured for every configuration, or none was.
    """
    known = [name for name in INDICATORS if (measured_in_all(cases).pairs if name == ROBUSTNESS else common_settings(name, cases))]
    if ALL not in asked:
        if lacking := [name for name in asked if name not in known and name != ROBUSTNESS]:
            raise InputError(
                f"expected search.indicators that every configuration was scored by at one setting, but {lacking[0]} is not such; "
                f"there are {', '.join(known) or 'none'}; score by it with `medtransfer score --indicators {lacking[0]}`"
            )
        return list(dict.fromkeys(asked)), []
    if not known:
        raise InputError("expected an indicator that every configuration was scored by, but there is none; run `medtransfer score`")
    partly = [name for name in INDICATORS if name not in known and any(common_settings(name, [case]) for case in cases)]
    return known, [f"Only some configurations were scored by {', '.join(partly)}: left out of the search."] if partly else []


def common_settings(indicator: str, cases: Sequence[Case]) -> list[IndicatorSetting]:
    """Return the settings at which all cases have scores of an indicator."""
    shared = frozenset.intersection(*(frozenset(case.indicators) for case in cases))
    return sorted((setting for setting in shared if setting.indicator == indicator), key=lambda setting: repr(setting.parameters))


def list_tried(
    name: str, section: Search, cases: Sequence[Case], default: RobustnessSetting
) -> tuple[list[Tried], list[str]]:  # fmt: skip
    """List every setting of an indicator to try, and sentences on what was left out.

    Raises:
        InputError: as `list_settings` does.
    """
    if name != ROBUSTNESS:
        return [*common_settings(name, cases)], []
    settings, notes = list_settings(section, measured_in_all(cases), default)
    return [*settings], notes


def one_of_each(settings: Sequence[Tried], default: RobustnessSetting) -> list[Tried]:
    """Return the setting of every indicator that is nearest to the default of robustness."""
    nearest: dict[str, Tried] = {}
    for setting in sorted(settings, key=lambda one: remoteness(one, default)):
        nearest.setdefault(columns(setting)["indicator"], setting)
    return list(nearest.values())


def list_settings(section: Search, measured: Measured, default: RobustnessSetting) -> tuple[list[RobustnessSetting], list[str]]:
    """List every setting of robustness to try.

    If any margin can be computed, the margins are those of the grid and, within its bounds, the default's. If scores are
    known at some margins only, distances, levels and margins without scores are left out.

    Returns:
        The settings in the order of the params, and sentences on what was left out.

    Raises:
        InputError: a distance or level was not measured, or one of the lists becomes empty.
    """
    distances, levels = list(dict.fromkeys(section.distances)), list(dict.fromkeys(section.levels))
    if measured.margins is None:
        margins, left_out = margin_grid(section.margins, default.margin), []
    else:
        left_out = [f"distance {name}" for name in distances if name not in measured.distances]
        left_out += [f"level {level}" for level in levels if level not in measured.levels]
        distances = _scored("distances", distances, measured.distances)
        levels = _scored("levels", levels, measured.levels)
        within = [margin for margin in sorted(measured.margins) if section.margins.low <= margin <= section.margins.high]
        margins = _scored("margins", within, sorted(measured.margins))
    _require_measured(distances, levels, measured)
    notes = [f"The scores hold no {', no '.join(left_out)}: left out of the search."] if left_out else []
    return [RobustnessSetting(*values) for values in product(distances, margins, levels, dict.fromkeys(section.poolings))], notes


def margin_grid(margins: Margins, default: float) -> list[float]:
    """List the margins of the grid in ascending order, with the default if it is within the grid's bounds."""
    steps = int((margins.high - margins.low) / margins.step + 1e-9)
    grid = {round(margins.low + step * margins.step, 10) for step in range(steps + 1)}
    return sorted(grid | ({default} if margins.low <= default <= margins.high else set()))


def _require_measured(distances: Sequence[str], levels: Sequence[int], measured: Measured) -> None:
    missing = [pair for pair in product(distances, levels) if pair not in measured.pairs]
    if missing:
        raise InputError(
            f"expected search.distances and search.levels at which every configuration was scored, but {missing[0][0]} at level "
            f"{missing[0][1]} was not; there are the distances {', '.join(measured.distances) or 'none'} and the levels "
            f"{', '.join(map(str, measured.levels)) or 'none'}; choose from these, or score again with `medtransfer score`"
        )


def _scored(name: str, tried: Sequence[Any], scored: Sequence[Any]) -> list[Any]:
    kept = [value for value in tried if value in scored]
    if not kept:
        grid = ", ".join(map(str, scored)) or "none"
        raise InputError(f"expected search.{name} to meet the grid of the stored scores ({grid}), but none does; choose from it")
    return kept
