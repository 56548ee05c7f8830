"""Write the files of a project of one's own, in which `mlflow run .` and `dvc repro` work; nothing is overwritten."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.config import parse_yaml
from medtransfer.config.known_keys import of_earlier_versions
from medtransfer.errors import InputError, StageError
from medtransfer.init.templates import ENVIRONMENT, project_files
from medtransfer.records import write_text
from medtransfer.tracking import link_environment
from medtransfer.wording import counted

GITIGNORE, PARAMS, STAGES = ".gitignore", "params.yaml", "dvc.yaml"
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
    lines += [f"added to {GITIGNORE}: {counted(ignored, 'line')}"] if ignored and GITIGNORE not in written else []
    if PARAMS in own:
        keys = _keys(folder / PARAMS)
        lines += [f"in {PARAMS}, {key} {meaning}" for key in keys or () if (meaning := of_earlier_versions(key))]
        if lacking := _lacking(keys, files[PARAMS]):
            lines.append(
                f"{PARAMS} lacks {_name_some(lacking)}: medtransfer takes the defaults, but `dvc repro` needs every key that "
                "dvc.yaml names; copy them from the params.yaml of an empty folder after `medtransfer init`"
            )
    stages = _lacking(_keys(folder / STAGES), files[STAGES]) if STAGES in own else []
    if stages:
        lines.append(
            f"{STAGES} lacks {_name_some(stages)}: it is your own, or an earlier version's; for this version's, move it away and "
            "run `medtransfer init` again"
        )
    return lines


def _name_some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    return ", ".join(keys[:MOST_NAMED]) + more


def _differs(path: Path, text: str) -> bool:
    return not path.is_file() or path.read_bytes() != text.encode()


def _keys(path: Path) -> list[str] | None:
    """Return the dotted keys of the sections of a file; None if it cannot be read, which the next command that does so says."""
    try:
        return _dotted(parse_yaml(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _dotted(sections: Any) -> list[str]:
    """Return the keys of each section as `section.key`."""
    own = sections.items() if isinstance(sections, dict) else ()
    return [f"{section}.{key}" for section, values in own if isinstance(values, dict) for key in values]


def _lacking(keys: Sequence[str] | None, wanted: str) -> list[str]:
    """Return the keys of another file that are not among those of one; none if this could not be read."""
    return [] if keys is None else [key for key in _dotted(parse_yaml(wanted)) if key not in keys]


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
