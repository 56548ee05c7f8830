"""Arguments of the indicators from the section `score` of the params."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from medtransfer.config import Score, Section, check_section, default_params
from medtransfer.errors import InputError
from medtransfer.indicators.contract import Options, ViewSettings
from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.robustness.setting import RobustnessSetting


def options_of(section: Score) -> Options:
    """Return the settings at which indicators are computed; the default margin is always listed.

    Raises:
        InputError: `settings` names an unknown indicator, or has options that do not fit one.
    """
    margins = tuple(sorted({*section.margins, section.margin}))
    return Options(_robustness(section), margins, section.pixels, own=_own(section, INDICATORS))


def robustness_of(section: Score) -> RobustnessSetting:
    """Return the default setting of robustness, without the libraries of all indicators, which take seconds to import.

    Raises:
        InputError: as `options_of`.
    """
    default = default_params().score.settings
    _own(section, [name for name, values in section.settings.items() if values != default.get(name)])
    return _robustness(section)


def _robustness(section: Score) -> RobustnessSetting:
    return RobustnessSetting(section.distance, section.margin, section.level, section.pooling)


def _own(section: Score, names: Iterable[str]) -> dict[str, Section]:
    """Return the options of the named indicators."""
    if unknown := sorted(section.settings.keys() - INDICATORS.keys()):
        raise InputError(
            f"expected score.settings to name indicators, which are {', '.join(INDICATORS)}, but got {unknown[0]!r}; "
            "correct or remove it"
        )
    return {
        name: check_section(INDICATORS[name].options, section.settings.get(name, {}), f"score.settings.{name}") for name in names
    }


def views_of(section: Score) -> ViewSettings:
    """Return the settings of the images and pairs of views."""
    return ViewSettings(
        section.split, section.max_images, section.seed, section.repeats, section.negative, section.precision, section.features,
        section.blocks,
    )  # fmt: skip


def settings_of(section: Score) -> dict[str, Any]:
    """Return what every stored row depends on; `tf32` is named where it is used, which older scores never did."""
    return {**asdict(views_of(section)), **({"tf32": True} if section.tf32 else {})}
