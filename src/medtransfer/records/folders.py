"""What is in a folder of results; one that may not be read is named, where a glob would see nothing."""

import os
from pathlib import Path

from medtransfer.errors import refuse_folder

# How the names of hidden files and folders begin, and of those that systems make.
LITTER = (".", "__MACOSX", "lost+found", "System Volume Information", "$RECYCLE.BIN")


def folders_and_files(folder: Path, closed: dict[Path, Exception]) -> tuple[list[str], set[str]]:
    """Return the names of the folders in a folder, sorted and without LITTER, and those of its files.

    A call of stat for each of tens of thousands would take longer than the rest.

    Args:
        folder: the folder; nothing is in one that does not exist.
        closed: a folder that cannot be read, or a link into one, is added, with the reason.
    """
    folders, files = [], set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry, closed):
                    folders.append(entry.name)
                else:
                    files.add(entry.name)
    except FileNotFoundError:  # nothing was made yet, or a folder was removed meanwhile
        pass
    except OSError as error:
        closed[folder] = error
    return sorted(name for name in folders if not name.startswith(LITTER)), files


def _is_folder(entry: os.DirEntry[str], closed: dict[Path, Exception]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir())
    except OSError as error:
        closed[Path(entry.path)] = error
        return False


def epoch_records(folder: Path) -> list[Path]:
    """List the records `epoch-*.json` in a folder of checkpoints, by name; empty if there is no such folder.

    Raises:
        InputError: the folder cannot be read.
    """
    closed: dict[Path, Exception] = {}
    folders, files = folders_and_files(folder, closed)
    if isinstance(error := closed.get(folder), OSError) and not isinstance(error, NotADirectoryError):
        refuse_folder(error)
    return sorted(folder / name for name in (*folders, *files) if name.startswith("epoch-") and name.endswith(".json"))
