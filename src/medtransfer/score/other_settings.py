"""Scores that were asked for in another way, which are kept beside their folder until they are asked for again."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.config import Score
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.records import FinishedScores, scratch_folder
from medtransfer.records.finished import are_as_written
from medtransfer.score.finished import FINISHED

OTHERS = ".other-settings"


def keep(folder: Path) -> None:
    """Keep a copy of finished scores, some of which are about to be measured at other options, such as another level.

    Files are linked where the file system allows it: every writer of this project replaces them. An older copy of the same request
    is replaced.

    Args:
        folder: folder of the scores of one pretraining on one target, which no other process works on.
    """
    if (done := _finished(folder)) is None:
        return
    copy = _kept(folder) / done.request
    with scratch_folder(copy) as scratch:
        for name in (*done.files, FINISHED):
            _link(folder / name, scratch / name)
        shutil.rmtree(copy, ignore_errors=True)
        scratch.rename(copy)


def bring_back(folder: Path, section: Score, request: str) -> bool:
    """Exchange the scores of a folder if those that the params ask for are kept.

    Args:
        folder: as in `keep`.
        section: validated params.
        request: digest of what they ask for.

    Returns:
        Whether they were.
    """
    if (kept := _kept(folder) / request).is_dir():
        _put_aside(folder)
        _replace(kept, folder)
        return True
    if not _kept(folder).is_dir():
        return False
    from medtransfer.score.options import settings_of

    return exchange(folder, settings_of(section))


def exchange(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Move scores of other settings aside, and bring back the newest of these settings; return whether there are such.

    Whole folders are renamed, so that an interrupted exchange mixes and loses nothing.

    Args:
        folder: as in `keep`.
        settings: settings that every stored row depends on.
    """
    wanted = _name(settings)
    if _settings_in(folder) == wanted:
        return False
    _put_aside(folder)
    same = [each for each in _kept(folder).glob("[!.]*") if _settings_in(each) == wanted]
    if same:
        _replace(max(same, key=lambda each: each.stat().st_mtime_ns), folder)
    return bool(same)


def _put_aside(folder: Path) -> None:
    """Move the scores of a folder aside: finished ones by what they were asked for as, others by their settings."""
    done, settings = _finished(folder), _settings_in(folder)
    if settings is not None:
        _replace(folder, _kept(folder) / (done.request if done else settings))


def _replace(folder: Path, by: Path) -> None:
    """Rename a folder; one that has the new name is deleted: it is older or holds the values of an interrupted scoring."""
    by.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(by, ignore_errors=True)
    folder.rename(by)


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:  # a file system without links
        shutil.copy2(file, copy)


def _kept(folder: Path) -> Path:
    return folder.parent / OTHERS / folder.name


def _name(settings: Mapping[str, Any]) -> str:
    return digest(settings, 12)


def _finished(folder: Path) -> FinishedScores | None:
    """Return the record of a folder's finished scores; None if it has none, or a file is not as it was written."""
    try:
        done = FinishedScores.read(folder / FINISHED)
    except InputError:
        return None
    return done if are_as_written(folder, done.files) else None


def _settings_in(folder: Path) -> str | None:
    """Return the name of the settings of the scores in a folder; None if it holds none that can be read."""
    for path in sorted(folder.glob("epoch-*.json")):
        try:
            return _name(json.loads(path.read_bytes())["settings"])
        except (OSError, ValueError, KeyError, TypeError):  # it is damaged, and will be written again
            continue
    return None
