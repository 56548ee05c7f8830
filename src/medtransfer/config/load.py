"""params.yaml and what overrides it go in; the validated whole comes out, or all faults at once."""

import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medtransfer.config.schema import Params
from medtransfer.config.strict_yaml import parse_yaml
from medtransfer.errors import InputError

# What is defined by name, and the places that use the names.
DEFINED = {"encoder": "pretrain.encoders", "origin": "pretrain.origins", "target": "prepare.targets"}
USED = {
    "encoder": ("study.encoders", "pretrain.encoder", "score.encoder", "finetune.encoder"),
    "origin": ("study.origins", "pretrain.origin", "score.origin", "finetune.origin"),
    "target": ("study.targets", "prepare.target", "pretrain.stop_on", "score.target", "finetune.target"),
}


def load_params(paths: Sequence[Path], overrides: Mapping[str, Any]) -> Params:
    """Read params.yaml, lay further files and single values over it, and validate the whole.

    Args:
        paths: the first file holds every key, each further one only what it changes.
        overrides: values by dotted key, such as `finetune.seed`; they win over the files.

    Raises:
        InputError: a file cannot be read, or any key is missing, unknown or of the wrong kind; all faults are named.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _lay_over(merged, _read(path))
    for dotted, value in overrides.items():
        patch: Any = value
        for key in reversed(dotted.split(".")):
            patch = {key: patch}
        merged = _lay_over(merged, patch)
    where = ", ".join(map(str, paths)) + (" and the command line" if overrides else "")
    faults = _undefined_names(merged)
    try:
        params = Params.model_validate(merged)
    except ValidationError as fault:
        faults = [_sentence(error, merged) for error in fault.errors()] + faults
    if faults:
        raise InputError(f"{len(faults)} fault(s) in {where}: {'; '.join(faults)}")
    return params


def _undefined_names(merged: dict[str, Any]) -> list[str]:
    """Name every encoder, origin and target that is used but not defined; values of a wrong kind are pydantic's to name."""
    faults = []
    for kind, place in DEFINED.items():
        known = _look_up(merged, place)
        for user in USED[kind] if isinstance(known, dict) else ():
            value = _look_up(merged, user)
            faults += [
                f"{user} names the {kind} {name!r}, known are {', '.join(sorted(map(str, known)))}"
                for name in (value if isinstance(value, list) else [value]) if isinstance(name, str) and name not in known
            ]  # fmt: skip
    return faults


def _look_up(value: Any, dotted: str) -> Any:
    """Give what stands at a dotted key, None when there is nothing."""
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _expand(value: Any, path: Path) -> Any:
    """Put environment variables in place of ${NAME} in every text of a parsed file."""

    def look_up(found: re.Match[str]) -> str:
        if (name := found[1]) not in os.environ:
            raise InputError(f"expected the environment variable {name}, which {path} names, but it is not set; set it")
        return os.environ[name]

    if isinstance(value, dict):
        return {key: _expand(one, path) for key, one in value.items()}
    if isinstance(value, list):
        return [_expand(one, path) for one in value]
    return re.sub(r"\$\{([A-Z_][A-Z0-9_]*)\}", look_up, value) if isinstance(value, str) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder, a pipe or a device")
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"expected the parameter file {Path.cwd() / path}, but it does not exist; run from the project's folder or name one "
            "with --params"
        ) from None
    except (OSError, ValueError) as fault:
        raise InputError(f"expected YAML in {path}, but it cannot be read: {' '.join(str(fault).split())}; correct it") from None
    if not isinstance(value, dict):
        raise InputError(f"expected sections such as `finetune:` in {path}, but got {type(value).__name__}")
    return {name: _expand(section, path) for name, section in value.items()}


def _lay_over(base: Any, patch: Any, key: str = "") -> Any:
    """Merge two nested mappings; other values, reader options, and entries of another kind are replaced."""
    if not (isinstance(base, dict) and isinstance(patch, dict)) or key in {"options", "split"}:
        return patch
    if "kind" in patch and base.get("kind", patch["kind"]) != patch["kind"]:
        return patch
    return {**base, **{name: _lay_over(base.get(name), value, name) for name, value in patch.items()}}


_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80
_UNSHOWN = {"missing", "extra_forbidden", "value_error", "union_tag_invalid", "union_tag_not_found"}  # of no use: the value


def _sentence(error: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Describe one of pydantic's errors."""
    context = error.get("ctx", {})
    messages = {
        "missing": "is missing", "extra_forbidden": "is not a known key", "union_tag_not_found": "has no `kind`",
        "union_tag_invalid": f"has the kind {context.get('tag')!r}, known are {context.get('expected_tags')}",
    }  # fmt: skip
    message = messages.get(error["type"], error["msg"]).removeprefix("Value error, ")
    got = "" if error["type"] in _UNSHOWN else f" (got {_brief.repr(error['input'])})"
    return f"{_key(error, params) or 'params'}: {message}{got}"


def _key(error: Mapping[str, Any], params: Any) -> str:
    """Return the dotted key of an error, without the names that pydantic gives to the choices of a union."""
    parts, value = list[str](), params
    for index, part in enumerate(error["loc"]):
        last = index == len(error["loc"]) - 1
        missing = last and error["type"] == "missing"
        known = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if part in known or missing:
            parts.append(str(part))
            value = None if missing else value[part]
    return ".".join(parts)
