"""The indicators that the section `score` asks for, and whether its target has what they need."""

from pathlib import Path

from medtransfer.config import Score
from medtransfer.errors import InputError
from medtransfer.indicators.contract import Indicator
from medtransfer.indicators.registry import ALL, find_indicators
from medtransfer.indicators.requirements import fits, require_labels
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.records import PreparedTarget
from medtransfer.score.options import options_of


def requested_indicators(section: Score, target: PreparedTarget) -> list[Indicator]:
    """Return the indicators to measure on a target; `all` are those that it has the labels for.

    Raises:
        InputError: an indicator or an option is unknown, or the target lacks the labels that an indicator needs.
    """
    indicators = find_indicators(section.indicators, "score.indicators")
    options_of(section)  # an invalid option is an error before any work
    if section.distance not in DISTANCES:
        raise InputError(f"expected score.distance out of {', '.join(DISTANCES)}, but got {section.distance!r}")
    if ALL in section.indicators and not target.has_masks:
        indicators = [indicator for indicator in indicators if fits(indicator, target)]
    require_labels(indicators, target, "score.indicators")
    return indicators


def check_target(section: Score, prepared: Path) -> None:
    """Refuse a target that the section's indicators cannot be measured on, before its checkpoints are made.

    Args:
        section: validated params.
        prepared: folder of all prepared targets.

    Raises:
        InputError: as `requested_indicators`; or the target is missing or broken, or has no samples of the split.
    """
    target = PreparedTarget.open(prepared / section.target)
    target.samples(section.split)
    requested_indicators(section, target)
