"""Scores at other settings, which are kept beside their folder until they are asked for again."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.config import Score
from medtransfer.hashing import digest

OTHERS = ".other-settings"


def bring_back(folder: Path, section: Score) -> bool:
    """Exchange the scores of a folder if those that the params ask for are kept; return whether they were."""
    if not _kept(folder).is_dir():
        return False
    from medtransfer.score.options import settings_of

    settings = settings_of(section)
    if kept := (_kept(folder) / _name(settings)).is_dir():
        exchange(folder, settings)
    return kept


def exchange(folder: Path, settings: Mapping[str, Any]) -> None:
    """Move scores of other settings aside, and bring back those of these settings.

    Whole folders are renamed, so that an interrupted exchange mixes and loses nothing.

    Args:
        folder: folder of the scores of one pretraining on one target, which no other process works on.
        settings: settings that every stored row depends on.
    """
    held, wanted = _settings_in(folder), _name(settings)
    if held is not None and _name(held) == wanted:
        return
    if held is not None:
        aside = _kept(folder) / _name(held)
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)  # an older one of the same settings
        folder.rename(aside)
    if (kept := _kept(folder) / wanted).is_dir():
        shutil.rmtree(folder, ignore_errors=True)  # without any record: values of an interrupted scoring
        kept.rename(folder)


def _kept(folder: Path) -> Path:
    return folder.parent / OTHERS / folder.name


def _name(settings: Mapping[str, Any]) -> str:
    return digest(settings, 12)


def _settings_in(folder: Path) -> Any:
    """Return the settings of the scores in a folder; None if it holds none that can be read."""
    for path in sorted(folder.glob("epoch-*.json")):
        try:
            return json.loads(path.read_bytes())["settings"]
        except (OSError, ValueError, KeyError, TypeError):  # it is damaged, and will be written again
            continue
    return None
