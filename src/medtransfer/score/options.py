"""Arguments of the indicators from the section `score` of the params."""

from medtransfer.config import Score
from medtransfer.indicators.contract import Options, ViewSettings
from medtransfer.indicators.robustness.setting import RobustnessSetting


def options_of(section: Score) -> Options:
    """Return the settings at which indicators are computed; the default margin is always listed."""
    setting = RobustnessSetting(section.distance, section.margin, section.level, section.pooling)
    return Options(setting, tuple(sorted({*section.margins, section.margin})), section.pixels)


def views_of(section: Score) -> ViewSettings:
    """Return the settings of the images and pairs of views."""
    return ViewSettings(section.split, section.max_images, section.seed, section.repeats, section.negative, section.precision)
