"""Define a target on the command line: a folder by its path, or other settings of a target that params.yaml defines."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from medtransfer.config import Prepare, Target
from medtransfer.config.load import DEFINITION
from medtransfer.errors import InputError

log = logging.getLogger("medtransfer")


def define(section: Prepare, name: str | None, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings of a target.

    Args:
        section: validated params, in which the target may be defined.
        name: its name; None for that of the folder `root`.
        given: its settings from the command line; others are those of its definition, which are logged, or of `prepare.new`.

    Raises:
        InputError: there is no name, or a new target has no `root`, or the folder's name is that of another target.
    """
    if name is None:
        root = given.get("root")
        if not isinstance(root, str):
            raise InputError(f"expected --target or --root beside --{min(given).replace('_', '-')}, but got neither; name one")
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(root).resolve().name).strip("-_")
        if not name or (name in section.targets and section.targets[name].root != root):
            reason = f"{name!r} is another target" if name else "it is the topmost folder"
            raise InputError(f"expected a folder {root} whose name can be that of a new target, but {reason}; add --target")
    if not isinstance(name, str):
        raise InputError(f"expected a name as --target, but got the value {name!r}; quote it, as in `--target '\"{name}\"'`")
    if "." in name:
        raise InputError(
            f"expected a --target without dots, which separate keys of the params, but got {name!r}; take another name"
        )
    if name in section.targets:
        base = section.targets[name].model_dump()
        if given.get("reader", base["reader"]) != base["reader"]:
            base["options"] = {}
        elif "root" in given:
            _note_kept(section, name, given)
    elif "root" in given:
        base = section.new.model_dump()
    else:
        raise InputError(f"expected --root beside --target {name}, which no file of parameters defines; name the folder")
    return name, {**base, **given}


def _note_kept(section: Prepare, name: str, given: Mapping[str, Any]) -> None:
    """Log which settings of a known target, other than those of a new one, a command with a folder does not name."""
    target, new = section.targets[name], section.new.model_dump()
    if kept := [key for key, value in target.model_dump().items() if key not in given and value != new.get(key)]:
        file = Path(section.out) / name / DEFINITION
        stored = file.is_file() and file.read_text(encoding="utf-8") == as_yaml(target)
        log.info(
            "prepare: %s: these settings are not on the command line and stay those of %s: %s; name them, or take another --target",
            name, file if stored else f"prepare.targets.{name}", ", ".join(f"{key} {getattr(target, key)!r}" for key in kept),
        )  # fmt: skip


def as_yaml(target: Target) -> str:
    """Return the definition of a target as it is kept in its prepared folder, where later commands find it."""
    return yaml.safe_dump(target.model_dump(), sort_keys=False, allow_unicode=True)
