"""Settings that a search tries: those of robustness, and those at which other indicators were scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medtransfer.indicators.robustness.pairs import NAME as ROBUSTNESS
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.selectors.score_names import INDICATOR_NAMES, score_label


@dataclass(frozen=True)
class IndicatorSetting:
    """Setting at which an indicator other than robustness was scored.

    Attributes:
        indicator: its name.
        parameters: its parameters by name, such as the level.
    """

    indicator: str
    parameters: tuple[tuple[str, str | int | float | bool], ...]

    @classmethod
    def of(cls, indicator: str, setting: Mapping[str, str | int | float | bool]) -> "IndicatorSetting":
        """Build from the setting of a score."""
        return cls(indicator, tuple(sorted(setting.items())))

    @property
    def level(self) -> int | None:
        """Level of the encoder; None for an indicator of several levels."""
        level = dict(self.parameters).get("level")
        return None if level is None else int(level)

    @property
    def options(self) -> str:
        """All parameters but the level, for people."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.parameters if name != "level")

    @property
    def sign(self) -> int:
        """1 where higher scores are better, -1 where lower ones are."""
        return 1 if INDICATOR_NAMES[self.indicator].higher_is_better else -1

    def __str__(self) -> str:
        level = "" if self.level is None else f"level {self.level}"
        return ", ".join(part for part in (score_label(self.indicator), level, self.options) if part)


Tried = RobustnessSetting | IndicatorSetting


def columns(setting: Tried) -> dict[str, Any]:
    """Return a setting as columns of a table, None for those that it lacks."""
    if isinstance(setting, RobustnessSetting):
        return {"indicator": ROBUSTNESS, **vars(setting), "options": None}
    return {
        "indicator": setting.indicator, "distance": None, "margin": None, "level": setting.level, "pooling": None,
        "options": setting.options or None,
    }  # fmt: skip


def remoteness(setting: Tried, default: RobustnessSetting) -> tuple[float, ...]:
    """Return how far a setting is from the default of robustness: how many names and levels differ, then level and margin.

    Settings of other indicators are farther than all of robustness.
    """
    if isinstance(setting, IndicatorSetting):
        return 4, abs((setting.level or default.level) - default.level), 0.0
    differing = sum(getattr(setting, name) != getattr(default, name) for name in ("distance", "level", "pooling"))
    return differing, abs(setting.level - default.level), abs(setting.margin - default.margin)
