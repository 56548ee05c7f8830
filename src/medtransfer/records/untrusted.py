"""Checks of files that may hold anything, before they are read."""

from pathlib import Path

from medtransfer.errors import InputError


def require_file(path: Path, what: str, remedy: str) -> Path:
    """Give the path back; what is no file that can be read, such as a folder, a pipe or a link in a circle, is an InputError.

    To open a pipe would wait for ever, and a device has no end.

    Args:
        path: of the file.
        what: it should hold, such as `an array`.
        remedy: what the user can do.
    """
    try:
        if path.is_file():
            path.open("rb").close()
            return path
        fault = _kind(path)
    except (OSError, ValueError) as error:  # a ValueError comes from a NUL in the name
        fault = getattr(error, "strerror", None) or str(error)
    raise InputError(f"expected {what} in {path}, but {fault}; {remedy}")


def _kind(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return "it is a pipe or a device"
    return "it is a link that leads nowhere" if path.is_symlink() else "there is none"


def in_one_line(fault: BaseException) -> str:
    """Give a library's complaint, or else its kind, in one short line."""
    return " ".join(str(fault).split())[:200] or type(fault).__name__
