"""Find files by patterns in which {case} stands for the name of a case, and * for any other name."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtransfer.data.picture_folders import leads_back
from medtransfer.data.volumes.dicom import is_image
from medtransfer.errors import InputError, refuse_folder
from medtransfer.records.folders import LITTER
from medtransfer.wording import composed

CASE = "{case}"


def compile_pattern(option: Any, name: str, endings: Sequence[str]) -> re.Pattern[str]:
    """Return a regular expression for a pattern; a folder's name stands for all volumes in it, and * for any name.

    Where {case} comes several times it is the same name, as in `{case}/{case}_t1.nii.gz`.
    """
    text = option if isinstance(option, str) else ""
    if not text or Path(text).is_absolute() or ".." in Path(text).parts:
        raise InputError(
            f"expected the option {name} to be a folder or a pattern such as '{{case}}/t1{''.join(endings[:1])}' below `root`, but "
            f"got {option!r}"
        )
    text = composed(text)
    pattern = text if CASE in text else f"{text.rstrip('/')}/{CASE}"
    before, *after = (re.escape(part).replace(r"\*", "[^/]*") for part in pattern.removeprefix("./").split(CASE))
    ending = "" if pattern.lower().endswith(tuple(endings)) else f"(?:{'|'.join(map(re.escape, endings))})"
    return re.compile(f"{before}(?P<case>.+?){'(?-i:(?P=case))'.join(after)}{ending}", re.IGNORECASE if ending else 0)


def list_files(home: Path) -> list[Path]:
    """List all files below a folder, sorted, without hidden ones; links to folders are followed.

    Raises:
        InputError: a folder cannot be read.
    """
    paths: list[Path] = []
    for parent, folders, files in os.walk(home, onerror=refuse_folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith(LITTER) and not leads_back(Path(parent, name)))
        paths += [Path(parent, name) for name in sorted(files) if not name.startswith(".")]
    return paths


def list_series(home: Path, files: Sequence[Path]) -> list[Path]:
    """List the folders below `home` that hold DICOM images."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        folders[path.parent].append(path)
    return [folder for folder, held in folders.items() if folder != home and any(map(is_image, held))]


def match_cases(files: Sequence[Path], pattern: re.Pattern[str], home: Path) -> dict[str, Path]:
    """Return the path of each case; raise InputError if a case has several."""
    matched: dict[str, Path] = {}
    for path in files:
        if match := pattern.fullmatch(composed(path.relative_to(home).as_posix())):
            name = match["case"]
            if (other := matched.setdefault(name, path)) != path:
                apart = f", or let {CASE} stand for the folder, too" if path.parent != other.parent else ""
                raise InputError(f"expected one volume of {name} in {home}, but got {other} and {path}; move one away{apart}")
    return matched
