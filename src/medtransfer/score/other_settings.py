"""Scores at other settings, which are kept below their folder until they are asked for again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.hashing import digest
from medtransfer.score.finished import FINISHED

OTHERS = "other-settings"


def exchange(folder: Path, settings: Mapping[str, Any]) -> None:
    """Move scores of other settings aside, and bring back those of these settings.

    An interrupted exchange is completed by the next one: the record of a checkpoint, which says the settings, is moved after
    its values, and `finished.json` before everything else.

    Args:
        folder: folder of the scores of one pretraining on one target, which no other process works on.
        settings: settings that every stored row depends on.
    """
    held, wanted = _settings_in(folder), digest(settings, 12)
    if held is not None and (name := digest(held, 12)) != wanted:
        _move(folder, folder / OTHERS / name)
    _move(folder / OTHERS / wanted, folder)


def _settings_in(folder: Path) -> Any:
    """Return the settings of the scores in a folder; None if it holds none that can be read."""
    for path in sorted(folder.glob("epoch-*.json")):
        try:
            return json.loads(path.read_bytes())["settings"]
        except (OSError, ValueError, KeyError, TypeError):  # it is damaged, and will be written again
            continue
    return None


def _move(source: Path, destination: Path) -> None:
    if not source.is_dir():
        return
    files = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    destination.mkdir(parents=True, exist_ok=True)
    for path in sorted(files, key=lambda path: (path.name != FINISHED, path.name.startswith("epoch-") and path.suffix == ".json")):
        path.rename(destination / path.name)
    if source.parent.name == OTHERS:
        source.rmdir()
        if not any(source.parent.iterdir()):
            source.parent.rmdir()
