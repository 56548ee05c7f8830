"""Scores that were asked for in another way, which are kept beside their folder until they are asked for again."""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medtransfer.config import Score
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.records import FinishedScores, scratch_folder
from medtransfer.records.finished import are_as_written
from medtransfer.score.finished import FINISHED, is_ours

OTHERS = ".other-settings"


def keep(folder: Path) -> None:
    """Keep a copy of finished scores, some of which are about to be replaced, such as by those of another level.

    Files are linked where the file system allows it: every writer of this project replaces them. Copies of the scores of other
    weights or images are deleted.

    Args:
        folder: folder of the scores of one pretraining on one target, which no other process works on.
    """
    folder = _followed(folder)
    if (done := _finished(folder)) is None:
        return
    made_of = _made_of(folder)
    for other in _all_kept(folder):
        if _made_of(other) != made_of:
            _discard(other, folder)
    copy = _kept(folder) / done.request
    with scratch_folder(copy) as scratch:
        for name in (*filter(is_ours, done.files), FINISHED):
            if (folder / name).exists():  # the picture may be gone
                _link(folder / name, scratch / name)
        _discard(copy, folder)
        scratch.rename(copy)


def forget(folder: Path, request: str) -> None:
    """Delete the copy of scores that the folder itself holds."""
    folder = _followed(folder)
    _discard(_kept(folder) / request, folder)


def bring_back(folder: Path, section: Score, request: str) -> bool:
    """Exchange the scores of a folder if those that the params ask for, or others of their settings, are kept.

    Args:
        folder: as in `keep`.
        section: validated params.
        request: digest of what they ask for.

    Returns:
        Whether they were.
    """
    folder = _followed(folder)
    if (kept := _kept(folder) / request).is_dir():
        _exchange(folder, kept)
        return True
    if not _kept(folder).is_dir():
        return False
    from medtransfer.score.options import settings_of

    wanted = _name(settings_of(section))
    return any(_settings_in(each) == wanted for each in _all_kept(folder)) and exchange(folder, settings_of(section))


def bring_back_first(folder: Path, serves: Callable[[Path], bool]) -> None:
    """Exchange the scores of a folder, unless they serve, for the newest kept ones that do.

    Kept scores are named after the last request that they served, which need not be the one that is asked for now.
    """
    folder = _followed(folder)
    kept = sorted(_all_kept(folder), key=lambda each: each.stat().st_mtime_ns, reverse=True)
    if not kept or serves(folder):
        return
    for each in kept:
        if serves(each):
            _exchange(folder, each)
            return


def exchange(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Move scores of other settings aside, and bring back the newest of these settings; return whether there are such.

    Args:
        folder: as in `keep`.
        settings: settings that every stored row depends on.
    """
    folder, wanted = _followed(folder), _name(settings)
    if _settings_in(folder) == wanted:
        return False
    same = [each for each in _all_kept(folder) if _settings_in(each) == wanted]
    _exchange(folder, max(same, key=lambda each: each.stat().st_mtime_ns) if same else None)
    return bool(same)


def _exchange(folder: Path, kept: Path | None) -> None:
    """Move the scores of a folder aside, and kept ones to their place.

    Whole folders are renamed, so that an interrupted exchange mixes and loses nothing; files of the user's own stay. The name of
    finished scores is what they were asked for as, that of others is made of their settings.
    """
    done, settings = _finished(folder), _settings_in(folder)
    aside = None
    if settings is not None:
        aside = _kept(folder) / (done.request if done else settings)
        if aside == kept:  # an interrupted process left a copy of the same request
            aside = _kept(folder) / settings
        aside.parent.mkdir(parents=True, exist_ok=True)
        _discard(aside, folder)  # it is older
        folder.rename(aside)
    if kept is not None:
        if folder.is_dir():  # without scores: values of an interrupted scoring
            _carry(folder, kept)
            shutil.rmtree(folder)
        kept.rename(folder)
    if aside is not None:
        _carry(aside, folder)


def _discard(copy: Path, folder: Path) -> None:
    """Delete kept scores, but no file of the user's own among them."""
    if copy.is_dir():
        _carry(copy, folder)
        shutil.rmtree(copy)
    else:
        copy.unlink(missing_ok=True)


def _carry(source: Path, folder: Path) -> None:
    """Move files of the user's own; none is replaced."""
    for path in sorted(source.iterdir()):
        if not is_ours(path.name):
            folder.mkdir(parents=True, exist_ok=True)
            place = folder / path.name
            while os.path.lexists(place):
                place = place.with_name(f"{place.name}~")
            path.rename(place)


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:  # a file system without links
        shutil.copy2(file, copy)


def _followed(folder: Path) -> Path:
    """Return where a folder lies, so that of a link what it leads to is renamed, and not the link."""
    return folder.resolve() if folder.is_symlink() else folder


def _kept(folder: Path) -> Path:
    return folder.parent / OTHERS / folder.name


def _all_kept(folder: Path) -> list[Path]:
    return [path for path in _kept(folder).glob("[!.]*") if path.is_dir()]


def _name(settings: Mapping[str, Any]) -> str:
    return digest(settings, 12)


def _finished(folder: Path) -> FinishedScores | None:
    """Return the record of a folder's finished scores; None if it has none, or a file but the picture is not as it was written."""
    try:
        done = FinishedScores.read(folder / FINISHED)
    except InputError:
        return None
    named = re.fullmatch("[0-9a-f]+", done.request) and all(Path(name).name == name for name in done.files)
    ours = {name: sha256 for name, sha256 in done.files.items() if is_ours(name) and not name.endswith(".png")}
    return done if named and are_as_written(folder, ours) else None


def _settings_in(folder: Path) -> str | None:
    """Return the name of the settings of the scores in a folder; None if it holds none that can be read."""
    record = _first_record(folder)
    return None if record is None else _name(record["settings"])


def _made_of(folder: Path) -> Any:
    """Return what the scores in a folder are of: the images, the pretraining and the weights of its first checkpoint."""
    record = _first_record(folder) or {}
    return [record.get(name) for name in ("data", "pretraining", "weights")]


def _first_record(folder: Path) -> dict[str, Any] | None:
    for path in sorted(folder.glob("epoch-*.json")):
        try:
            record = json.loads(path.read_bytes())
            if isinstance(record["settings"], dict):
                return dict(record)
        except (ValueError, KeyError, TypeError):  # it is damaged, and will be written again
            continue
    return None
