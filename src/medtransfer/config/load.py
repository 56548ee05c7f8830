"""Load params.yaml with its overrides and validate it; all errors are reported together."""

import os
import re
import reprlib
import shlex
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from medtransfer.config.known_keys import known_keys, of_other_files
from medtransfer.config.pretraining_seeds import seeded_origins
from medtransfer.config.requirements import requirement
from medtransfer.config.schema import Params, Section
from medtransfer.config.strict_yaml import parse_yaml
from medtransfer.errors import InputError
from medtransfer.wording import did_you_mean

S = TypeVar("S", bound=Section)
DEFINITION = "target.yaml"  # in the folder of a prepared target: its entry of prepare.targets, if no file of parameters has it
Key = tuple[str | int, ...]
DEFAULTS = Path(__file__).with_name("params.yaml")  # every default; in a clone of the project a link to params.yaml at its root
PRESETS = DEFAULTS.with_name("presets")  # files to lay over it, of which `--params` takes the names; a link to configs/

# Sections that define names, and the keys that use them; names that the code defines are passed to `load_params`.
DEFINED = {"encoder": "pretrain.encoders", "origin": "pretrain.origins", "target": "prepare.targets"}
# Sections of entries, and the key of an entry that says what it is; one that has it is a whole entry.
KINDS = {"pretrain.encoders": "build", "pretrain.origins": "kind", "prepare.targets": "reader"}
USED = {
    "encoder": ("study.encoders", "pretrain.encoder", "score.encoder", "finetune.encoder", "guard.encoder"),
    "origin": ("study.origins", "pretrain.origin", "score.origin", "finetune.origin", "guard.origin"),
    "target": (
        "study.targets",
        "prepare.target",
        "pretrain.stop_on",
        "score.target",
        "finetune.target",
        "rank.target",
        "cka.target",
        "race.target",
        "guard.target",
    ),
    "mode": ("study.modes", "finetune.mode"),
    "decoder": ("finetune.decoder",),
    "launcher": ("grid.launcher", "rank.launcher", "race.launcher", "guard.launcher"),
    "distance": ("score.distance", "search.distances"),
    "indicator": ("pretrain.stop_by", "rank.by"),
    "indicators": ("score.indicators", "rank.indicators", "search.indicators"),
}


class Source(NamedTuple):
    """A file or an option: its name in messages, the key that it sets, which is empty for a whole file, and the value."""

    name: str
    key: tuple[str, ...]
    value: Any


def load_params(
    paths: Sequence[Path], overrides: Mapping[str, Any], registered: Mapping[str, Collection[str]] | None = None,
    makes_targets: bool = False, given_in: str = "the command line",
) -> Params:  # fmt: skip
    """Read params.yaml, override it by further files and single values, and validate the result.

    `pretrain.origins` also gets the origins of `study.pretraining_seeds`, so that single commands know their names.

    Args:
        paths: the first file has every key, further ones only those that they change.
        overrides: values by dotted key, such as `finetune.seed`; they override the files.
        registered: names that the code defines, by kind, a key of USED, such as `{"mode": MODES}`.
        makes_targets: whether targets are made, so that other sections than `prepare` may name some that are not there yet.
        given_in: where the single values are from, for messages.

    Raises:
        InputError: a file cannot be read, or keys are missing, unknown or of a wrong type; all errors are named.
    """
    sources = [read_source(path) for path in paths]
    sources += [Source(given_in, tuple(dotted.split(".")), value) for dotted, value in overrides.items()]
    params, errors, names = check_sources(sources, registered or {}, makes_targets)
    if params is None:
        raise InputError(f"{_count(errors)} in {' and '.join(names)}: {'; '.join(errors)}")
    return params


def read_source(path: Path) -> Source:
    """Read a file of parameters.

    Raises:
        InputError: it cannot be read.
    """
    return Source(str(path), (), _read(path))


def check_sources(
    sources: Sequence[Source], registered: Mapping[str, Collection[str]], makes_targets: bool = False
) -> tuple[Params | None, list[str], list[str]]:
    """Merge sources, the later over the earlier, and validate the result; arguments as of `load_params`.

    Returns:
        The params, or None and a sentence for each error and the names of the sources that hold them.
    """
    sources = [*_stored_targets(_merge_all(sources)), *sources]
    merged = _merge_all(sources)
    complete, errors = _with_seeds(merged)
    undefined = _undefined_names(complete, registered, makes_targets)
    for values in (merged, complete):  # first without the seeds, so that a mistake in an origin is named once
        try:
            params = Params.model_validate(values)
        except ValidationError as invalid:
            errors = error_sentences(invalid, values, Params) + errors
            break
    invalid_keys = {key for key, _ in errors}  # what is no name at all is named once
    errors += [(key, sentence) for key, sentence in undefined if key not in invalid_keys]
    if not errors:
        return params, [], []
    wrong = {_source(key, sources) for key, _ in errors}
    names = dict.fromkeys(source.name for source in sources if source.name in wrong)
    return None, [sentence for _, sentence in errors], list(names)


def preset_names() -> list[str]:
    """List the names of the packaged presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def find_preset(path: Path) -> Path:
    """Return the file of a packaged preset if the path is its name and no file has it; otherwise the path."""
    return PRESETS / f"{path}.yaml" if str(path) in preset_names() and not path.is_file() else path


@cache
def default_params() -> Params:
    """Return the packaged defaults, whatever the working folder holds."""
    return load_params([DEFAULTS], {})


def check_section(kind: type[S], values: Mapping[str, Any], key: str) -> S:
    """Validate the part of the params whose schema another package defines.

    Args:
        kind: the schema.
        values: the values.
        key: dotted key that they are under, for messages.

    Raises:
        InputError: keys are missing, unknown or of a wrong type; all errors are named.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as invalid:
        errors = [f"{key}.{sentence}" for _, sentence in error_sentences(invalid, values, kind)]
        raise InputError(f"{_count(errors)} in the params: {'; '.join(errors)}") from None


def _merge_all(sources: Sequence[Source]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for source in sources:
        merged = _merge_at(merged, source.key, source.value)
    return merged


def _merge_at(base: Any, keys: Sequence[str], value: Any, parents: tuple[str, ...] = ()) -> Any:
    """Merge a value into nested mappings at the key that it is for, so that a single value of an entry changes that alone."""
    if not keys:
        return merge(base, value, parents)
    held = base if isinstance(base, dict) else {}
    return {**held, keys[0]: _merge_at(held.get(keys[0]), keys[1:], value, (*parents, keys[0]))}


def _stored_targets(merged: dict[str, Any]) -> list[Source]:
    """List the targets that were defined on the command line when they were prepared, unless a file defines them by now."""
    out, defined = _look_up(merged, "prepare.out"), _look_up(merged, "prepare.targets") or {}
    paths = sorted(Path(out).glob(f"*/{DEFINITION}")) if isinstance(out, str) else []
    return [
        Source(str(path), ("prepare", "targets", path.parent.name), _read(path))
        for path in paths if path.parent.name not in defined
    ]  # fmt: skip


def _with_seeds(merged: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[Key, str]]]:
    """Add the origins of the pretraining seeds; also return an error for each that is defined with other settings."""
    if not (added := seeded_origins(merged)):
        return merged, []
    defined = merged["pretrain"]["origins"]
    errors: list[tuple[Key, str]] = [
        (
            ("pretrain", "origins", name),
            f"study.pretraining_seeds makes the origin {name!r}, but pretrain.origins defines it with other settings; rename it",
        )
        for name, settings in added.items() if defined.get(name, settings) != settings
    ]  # fmt: skip
    return merge(merged, {"pretrain": {"origins": added}}), errors


def _count(errors: Sequence[Any]) -> str:
    return f"{len(errors)} error{'s' if len(errors) > 1 else ''}"


def _source(key: Key, sources: Sequence[Source]) -> str:
    """Return the name of the last source that sets a key; of a missing key, of the first that sets what it is missing in."""
    if names := [source.name for source in sources if _sets(source, key)]:
        return names[-1]
    parents = (key[:depth] for depth in reversed(range(len(key))))
    return next(source.name for parent in parents for source in sources if _sets(source, parent))


def _sets(source: Source, key: Key) -> bool:
    """Return whether a source holds a key, or a value that replaces what holds it."""
    value: Any = source.value
    for name in reversed(source.key):
        value = {name: value}
    for depth, part in enumerate(key):
        if not isinstance(value, dict) or (depth >= len(source.key) and _is_whole(value, key[:depth])):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def _undefined_names(
    merged: dict[str, Any], registered: Mapping[str, Collection[str]], makes_targets: bool
) -> list[tuple[Key, str]]:
    """Return an error for every name that is used but not defined; pydantic reports values of a wrong type."""
    errors: list[tuple[Key, str]] = []
    defined = {kind: _look_up(merged, section) for kind, section in DEFINED.items()}
    names = {kind: set(section) for kind, section in defined.items() if isinstance(section, dict)}
    for kind, known in (names | dict(registered)).items():
        for user in USED[kind]:
            if makes_targets and kind == "target" and not user.startswith("prepare."):
                continue
            value, singular = _look_up(merged, user), kind.removesuffix("s")
            key: Key = tuple(user.split("."))
            entries: list[tuple[Key, Any]] = (
                [((*key, i), name) for i, name in enumerate(value)] if isinstance(value, list) else [(key, value)]
            )
            errors += [
                (
                    entry,
                    f"{user} names the {singular} {name!r}{did_you_mean(name, known)}, known are "
                    f"{', '.join(sorted(map(str, known)))}{_hint(kind, name, known)}",
                )
                for entry, name in entries if isinstance(name, str) and name not in known
            ]  # fmt: skip
    return errors


def _hint(kind: str, name: str, known: Collection[str]) -> str:
    """Return how to name the file of the working folder that defines an unknown name, if there is one, or to make a target."""
    for path in sorted(Path().glob("*.yaml")) if kind in DEFINED else []:
        try:
            held = _look_up(_read(path), DEFINED[kind])
        except InputError:  # another file than those that were asked for
            continue
        if isinstance(held, dict) and name in held:
            return f"; {path} defines it: add --params {shlex.quote(str(path))}"
    if kind == "target" and not did_you_mean(name, known):
        return f"; to make it of a folder: `medtransfer prepare --root FOLDER --target {shlex.quote(name)}`"
    return ""


def _look_up(value: Any, dotted: str) -> Any:
    """Return the value at a dotted key, None if there is none."""
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _expand(value: Any, path: Path) -> Any:
    """Replace ${NAME} by the environment variable in every string of a parsed file."""

    def look_up(match: re.Match[str]) -> str:
        if (name := match[1]) not in os.environ:
            raise InputError(f"expected the environment variable {name}, which {path} names, but it is not set; set it")
        return os.environ[name]

    if isinstance(value, dict):
        return {key: _expand(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, path) for item in value]
    return re.sub(r"\$\{([A-Z_][A-Z0-9_]*)\}", look_up, value) if isinstance(value, str) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder, a pipe or a device")
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"expected the parameter file {Path.cwd() / path}, but it does not exist; correct its name, make it, or name one "
            f"of the packaged presets: {', '.join(preset_names())}{did_you_mean(path.stem, preset_names())}"
        ) from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        remedy = "indent it by blanks, not by tabs" if "cannot start any token" in reason else "correct it"
        remedy = "correct its permissions" if isinstance(error, PermissionError) else remedy
        raise InputError(f"expected YAML in {path}, but it cannot be read: {reason}; {remedy}") from None
    if not isinstance(value, dict):
        got = "nothing" if value is None else type(value).__name__
        raise InputError(f"expected sections such as `finetune:` in {path}, but got {got}; write one, or remove the file")
    return {name: _expand(section, path) for name, section in value.items()}


def merge(base: Any, patch: Any, parents: tuple[str, ...] = ()) -> Any:
    """Merge two nested mappings; other values, reader options and splits are replaced.

    An entry of KINDS that says what it is (its `build`, `kind` or `reader`) is a whole one and replaces what had its name; one
    that does not changes the keys that it names.
    """
    if not (isinstance(base, dict) and isinstance(patch, dict)) or parents[-1:] in {("options",), ("split",)}:
        return patch
    if _is_whole(patch, parents):
        return patch
    return {**base, **{name: merge(base.get(name), value, (*parents, name)) for name, value in patch.items()}}


def _is_whole(value: Mapping[Any, Any], key: Key) -> bool:
    """Return whether a mapping at a key is an entry of KINDS that says what it is."""
    kind = KINDS.get(".".join(map(str, key[:-1])))
    return kind is not None and kind in value


_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80
_WITHOUT_VALUE = {"missing", "extra_forbidden", "value_error", "union_tag_invalid", "union_tag_not_found"}


def error_sentences(invalid: ValidationError, params: Mapping[str, Any], schema: type[Section]) -> list[tuple[Key, str]]:
    """Describe the errors of params that were validated by a schema, each with its key.

    What the types that a value may have ask of it, such as a name or a mapping, is one error. Where an entry of it is wrong, only
    that is said: the value has the type that has entries.
    """
    asked: dict[tuple[Key, str], list[str]] = {}
    for error in invalid.errors():
        key = _key(error, params)
        message, value = _describe(error, key, schema)
        asked.setdefault((key, value), []).append(message)
    parents = {key[:depth] for key, _ in asked for depth in range(1, len(key))}
    return [
        (key, f"{'.'.join(map(str, key)) or 'params'}: {_either(*messages)}{value}")
        for (key, value), messages in asked.items()
        if not (value and key in parents)
    ]


def _either(first: str, *others: str) -> str:
    return ", or ".join([first, *(message.removeprefix("must be ") for message in others)])


def _describe(error: Mapping[str, Any], at: Key, schema: type[Section]) -> tuple[str, str]:
    """Return what is wrong, and the value that was given, if that says more."""
    context, key = error.get("ctx", {}), ".".join(map(str, at))
    keys = known_keys(schema, error["loc"]) if error["type"] == "extra_forbidden" else []
    messages = {
        "missing": "is missing", "union_tag_not_found": "has no `kind`",
        "extra_forbidden": of_other_files(key) or f"is not a known key{did_you_mean(str(error['loc'][-1]), keys)}",
        "union_tag_invalid": f"has the kind {context.get('tag')!r}, known are {context.get('expected_tags')}",
    }  # fmt: skip
    message = messages.get(error["type"]) or requirement(error)
    got = "nothing" if error["input"] is None else _brief.repr(error["input"])
    shown = "" if error["type"] in _WITHOUT_VALUE else f" (got {got})"
    return message, shown


def _key(error: Mapping[str, Any], params: Any) -> Key:
    """Return the key of an error, without pydantic's names for the members of a union."""
    parts, value = list[str | int](), params
    for index, part in enumerate(error["loc"]):
        last = index == len(error["loc"]) - 1
        missing = last and error["type"] == "missing"
        known = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if part in known or missing:
            parts.append(part)
            value = None if missing else value[part]
    return tuple(parts)
