"""Write the files of a project of one's own, in which `mlflow run .` and `dvc repro` work; nothing is overwritten."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.config import parse_yaml
from medtransfer.errors import InputError, StageError
from medtransfer.init.templates import ENVIRONMENT, project_files
from medtransfer.records import write_text
from medtransfer.tracking import link_environment

GITIGNORE, PARAMS = ".gitignore", "params.yaml"
MOST_NAMED = 5  # parameters in a sentence


def run(folder: Path) -> str:
    """Write the files that the folder lacks.

    Args:
        folder: folder of the project, made if it does not exist.

    Returns:
        What was written and what was kept, for the terminal.

    Raises:
        InputError: the folder cannot be made, since there is a file, or a file of the project cannot be written.
    """
    files = _wanted(folder)
    missing = [name for name in files if not (folder / name).exists()]
    try:
        for name in missing:
            write_text(folder / name, files[name])
        ignored = _add_ignored(folder / GITIGNORE, files[GITIGNORE])
    except OSError as error:
        raise InputError(
            f"expected a folder at {folder} in which files can be written, but got: {error.strerror or error}; name another one"
        ) from None
    return "\n".join([*_report(folder, files, missing, ignored), _environment(folder, files), _next(folder)])


def _wanted(folder: Path) -> dict[str, str]:
    """Return the files of the project; those of a DVC repository only where it is in none."""
    parents = [folder.resolve(), *folder.resolve().parents]
    files = project_files(in_git=any((parent / ".git").exists() for parent in parents))
    in_dvc = any((parent / ".dvc").is_dir() for parent in parents[1:])
    return {name: text for name, text in files.items() if not (in_dvc and name.startswith(".dvc/"))}


def _add_ignored(path: Path, wanted: str) -> int:
    """Append the lines that a .gitignore lacks, so that Git never takes data and checkpoints; return their number."""
    text = path.read_text(encoding="utf-8")
    lines = [line for line in wanted.splitlines() if line not in text.splitlines()]
    if lines:
        write_text(path, "\n".join([text.rstrip("\n"), "", "# results of medtransfer", *lines, ""]).lstrip("\n"))
    return len(lines)


def _report(folder: Path, files: Mapping[str, str], written: Sequence[str], ignored: int) -> list[str]:
    own = [name for name in files if name not in written and name != GITIGNORE and _differs(folder / name, files[name])]
    lines = [f"written in {folder.resolve()}: {', '.join(written)}"] if written else [f"nothing is missing in {folder.resolve()}"]
    lines += [f"kept as they are, since they exist: {', '.join(own)}"] if own else []
    lines += [f"added to {GITIGNORE}: {ignored} lines"] if ignored and GITIGNORE not in written else []
    if PARAMS in own and (lacking := _lacking(folder / PARAMS, files[PARAMS])):
        more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
        lines.append(
            f"{PARAMS} lacks {', '.join(lacking[:MOST_NAMED])}{more}: medtransfer takes the defaults, but `dvc repro` needs every "
            "key; copy them from the params.yaml of an empty folder after `medtransfer init`"
        )
    return lines


def _differs(path: Path, text: str) -> bool:
    return not path.is_file() or path.read_bytes() != text.encode()


def _lacking(path: Path, wanted: str) -> list[str]:
    """Return the dotted keys of sections that a params.yaml lacks; one that cannot be read is refused by the next command."""
    try:
        own: Any = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [
        f"{section}.{key}"
        for section, values in parse_yaml(wanted).items() for key in values
        if not (isinstance(own, dict) and isinstance(own.get(section), dict) and key in own[section])
    ]  # fmt: skip


def _environment(folder: Path, files: Mapping[str, str]) -> str:
    if _differs(folder / ENVIRONMENT, files[ENVIRONMENT]):
        return f"{ENVIRONMENT} is your own: `mlflow run . --env-manager local` uses the running environment instead of it"
    try:
        return f"`mlflow run .` uses {link_environment(folder)}"
    except StageError as error:
        return str(error)


def _next(folder: Path) -> str:
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    return f"next: {enter}medtransfer demo, or see README.md"
