"""Arguments of the indicators from the section `score` of the params."""

from dataclasses import asdict
from typing import Any

from medtransfer.config import Score, Section, check_section
from medtransfer.errors import InputError
from medtransfer.indicators.contract import Options, ViewSettings
from medtransfer.indicators.registry import INDICATORS
from medtransfer.indicators.robustness.setting import RobustnessSetting


def options_of(section: Score) -> Options:
    """Return the settings at which indicators are computed; the default margin is always listed.

    Raises:
        InputError: `settings` names an unknown indicator, or has options that do not fit one.
    """
    setting = RobustnessSetting(section.distance, section.margin, section.level, section.pooling)
    return Options(setting, tuple(sorted({*section.margins, section.margin})), section.pixels, own=_own(section))


def _own(section: Score) -> dict[str, Section]:
    if unknown := sorted(section.settings.keys() - INDICATORS.keys()):
        raise InputError(
            f"expected score.settings to name indicators, which are {', '.join(INDICATORS)}, but got {unknown[0]!r}; "
            "correct or remove it"
        )
    return {
        name: check_section(indicator.options, section.settings.get(name, {}), f"score.settings.{name}")
        for name, indicator in INDICATORS.items()
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
