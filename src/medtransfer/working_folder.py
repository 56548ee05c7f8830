"""Params of the working folder: the packaged defaults, its own params.yaml, further files and single values."""

import logging
import os
import sys
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from medtransfer.config import DEFAULTS, Params, find_preset, load_params, merge, parse_yaml
from medtransfer.config.loaded_files import remember
from medtransfer.config.study_files import StudyFile, read_study
from medtransfer.decoders import DECODERS
from medtransfer.environment import require_own_code
from medtransfer.errors import InputError
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.indicators.registry import ALL, INDICATORS
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.modes import MODES

log = logging.getLogger("medtransfer")
PARAMS = Path("params.yaml")
REGISTERED: dict[str, Mapping[str, Any]] = {  # names that the code defines, by kind
    "mode": MODES, "decoder": DECODERS, "distance": DISTANCES, "indicator": INDICATORS,
    "indicators": ChainMap({ALL: None}, INDICATORS), "launcher": LAUNCHERS,
}  # fmt: skip


def load(
    files: Sequence[Path] = (), overrides: Mapping[str, Any] | None = None, *, makes_targets: bool = False,
    given_in: str = "the command line",
) -> Params:  # fmt: skip
    """Load the params that count in the working folder.

    Args:
        files: YAML files, or names of packaged presets, that override the folder's params.yaml, which need not exist.
        overrides: values by dotted key, such as `finetune.seed`; they override the files.
        makes_targets: as of `load_params`.
        given_in: as of `load_params`.

    Raises:
        InputError: a file cannot be read, keys are unknown or of a wrong type, or the folder holds other code; or a script without
            the guard for its main part calls this, in a process that imports it.
    """
    _require_guard()
    require_own_code(Path.cwd())
    if not os.path.lexists(PARAMS):
        _say_defaults(Path.cwd())
    remember(files)
    return load_params([*_parameter_files(), *map(find_preset, files)], overrides or {}, REGISTERED, makes_targets, given_in)


def load_arguments(section: str, values: Mapping[str, Any]) -> Params:
    """Load the params of a function of the package.

    Args:
        section: section of params.yaml.
        values: what the function was given, by key of the section.

    Raises:
        InputError: as of `load`.
    """
    return load(overrides={f"{section}.{key}": value for key, value in values.items()}, given_in="the arguments")


def _require_guard() -> None:
    """Refuse to begin in a worker that imports the caller's script: it would wait for the process that it works for."""
    processes = sys.modules.get("multiprocessing.process")
    if processes and getattr(processes.current_process(), "_inheriting", False):  # set by CPython while it imports the script
        raise InputError(
            'expected this call below `if __name__ == "__main__":`, since the processes that it starts import the script; put it '
            "there"
        )


def path_text(value: object, name: str) -> str:
    """Return a path or name that a function of the package was given as text.

    Args:
        value: what was given.
        name: name of the argument, for the message.

    Raises:
        InputError: it is neither.
    """
    if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
        return text
    raise InputError(f"expected a path as {name}, but got a value of type {type(value).__name__}; name a file or folder")


def path_texts(values: str | os.PathLike[str] | Iterable[object], name: str) -> list[str]:
    """Return paths or names as texts; a single one is a list of one. Arguments and errors as of `path_text`."""
    if isinstance(values, str | os.PathLike) or not isinstance(values, Iterable):
        values = [values]
    return [path_text(value, name) for value in values]


def load_study(name: str, files: Sequence[Path] = (), overrides: Mapping[str, Any] | None = None) -> StudyFile:
    """Load a study: its file is laid over the packaged defaults, whatever params.yaml the folder has, and further files over it.

    Args:
        name: name of a packaged study or path of its file; with `/<part>` one part.
        files: YAML files, or names of packaged presets.
        overrides: values by dotted key.

    Raises:
        InputError: there is no such study, or its file has errors, all of which are named.
    """
    require_own_code(Path.cwd())
    return read_study(name, [DEFAULTS], files, REGISTERED, overrides or {})


def default_values(files: Sequence[Path] = ()) -> Any:
    """Return the values that count without other options than `--params`, unchecked.

    A broken params.yaml is left out, since help needs none.

    Args:
        files: YAML files, or names of packaged presets, that override the folder's params.yaml.
    """
    values: Any = {}
    for path in [*_parameter_files(), *map(find_preset, files)]:
        try:
            values = merge(values, parse_yaml(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return values


def _parameter_files() -> list[Path]:
    """Return the packaged defaults and params.yaml of the folder, if it has one; in a clone of the project they are one file."""
    if not os.path.lexists(PARAMS):
        return [DEFAULTS]
    return [PARAMS] if PARAMS.exists() and PARAMS.samefile(DEFAULTS) else [DEFAULTS, PARAMS]


@cache  # once per folder, also where a command loads the params several times
def _say_defaults(folder: Path) -> None:
    log.info("there is no params.yaml in %s: what is not set has the packaged default", folder)
