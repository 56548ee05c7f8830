"""Study files: params of a whole study in parts, with a section `about`; all errors of a file are reported together.

about: {what: Does it help?, paper: null}     what the study asks
params: [labelled]                            presets and files that it is laid over, as `--params`
study: {seeds: [1, 2]}                        params, of any section
parts:                                        axes of parts: each combination is a part, laid over what is above
  - {masks: {study: {targets: [a]}, finetune: {loss: dice}}, labels: {params: [strong], study: {targets: [b]}}}
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medtransfer.config.known_keys import ABOUT, LAID_OVER, PARTS
from medtransfer.config.load import DEFAULTS, Source, check_sources, error_sentences, find_preset, merge, read_source
from medtransfer.config.schema import Params
from medtransfer.config.schema.study_file import About
from medtransfer.errors import InputError
from medtransfer.wording import did_you_mean

STUDIES = DEFAULTS.with_name("studies")  # in a clone of the project a link to studies/ at its root


@dataclass(frozen=True)
class Part:
    """One part of a study, whose cells are every combination of its section `study`.

    Attributes:
        name: its name; empty for the only one.
        params: its params.
        about: what the file says about it.
    """

    name: str
    params: Params
    about: About


@dataclass(frozen=True)
class StudyFile:
    """A study.

    Attributes:
        name: name of a packaged study, or path of the file.
        path: the file.
        about: what it says about all parts.
        parts: in their order.
    """

    name: str
    path: Path
    about: About
    parts: tuple[Part, ...]


def study_names() -> list[str]:
    """List the names of the packaged studies."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def find_study(name: str) -> tuple[Path, str, str]:
    """Return the file of a study, its name, and the name of a part, which is empty for all.

    Args:
        name: name of a packaged study or path of a file, and `/<part>` after it for one part.

    Raises:
        InputError: there is no such study.
    """
    for whole, part in ((name, ""), (name.rpartition("/")[0], name.rpartition("/")[2])):
        if Path(whole).is_file():
            return Path(whole), whole, part
        if whole in study_names():
            return STUDIES / f"{whole}.yaml", whole, part
    raise InputError(
        f"expected the name of a study ({', '.join(study_names())}) or its file, but got {name!r}"
        f"{did_you_mean(name, study_names())}; correct it, or see "
        "`medtransfer study --list`"
    )


def read_study(
    name: str, base: Sequence[Path], files: Sequence[Path], registered: Mapping[str, Collection[str]],
    overrides: Mapping[str, Any],
) -> StudyFile:  # fmt: skip
    """Read a study.

    Args:
        name: as for `find_study`.
        base: files that it is laid over.
        files: files, or names of presets, that are laid over each of its parts.
        registered: names that the code defines, by kind.
        overrides: values by dotted key, of each of its parts.

    Raises:
        InputError: there is no such study or part, or the file has errors, all of which are named.
    """
    path, whole_name, wanted = find_study(name)
    body = dict(read_source(path).value)
    text = {key: body.pop(key, None) for key in (ABOUT, LAID_OVER, PARTS)}
    errors: list[str] = []
    patches = _patches(text[PARTS], errors)
    if wanted and wanted not in patches:
        raise InputError(
            f"expected a part of the study {whole_name} ({', '.join(filter(None, patches)) or 'it has none'}), but got {wanted!r}; "
            "correct it"
        )
    read = _Files([*base], [*files])
    given = [Source("the command line", tuple(dotted.split(".")), value) for dotted, value in overrides.items()]
    parts, by_part, wrong_files = [], dict[str, list[str]](), dict[str, None]()
    for part, patch in patches.items():
        about, mistakes = _about(merge(text[ABOUT] or {}, patch.pop(ABOUT, None) or {}))
        lists = ((LAID_OVER, text[LAID_OVER]), (f"{part}.{LAID_OVER}", patch.pop(LAID_OVER, None)))
        presets = [preset for key, names in lists for preset in _names(names, key, mistakes)]
        own = [Source(str(path), (), body), Source(str(path), (), patch)]
        params, wrong, names = check_sources([*read.sources(presets, own, mistakes), *given], registered)
        by_part[part] = [*mistakes, *wrong]
        wrong_files |= dict.fromkeys([*([str(path)] if mistakes else []), *names])
        if params and about and not by_part[part]:
            parts.append(Part(part, params, about))
    errors += _once(by_part) or _shared_folders(parts)
    whole, _ = _about(text[ABOUT] or {})
    if errors or whole is None:
        where = " and ".join(wrong_files) or path
        raise InputError(f"{len(errors)} error{'s' if len(errors) > 1 else ''} in {where}: {'; '.join(errors)}")
    chosen = tuple(part for part in parts if wanted in ("", part.name))
    return StudyFile(whole_name, path, whole, chosen)


def _shared_folders(parts: Sequence[Part]) -> list[str]:
    """Return an error for every two parts whose cells have the same names and folder: the later ones would replace the others."""
    seen: dict[tuple[object, ...], str] = {}
    errors: dict[str, None] = {}
    for part in parts:
        study, out = part.params.study, part.params.finetune.out
        axes = (study.targets, study.encoders, study.origins, study.modes, study.seeds, study.sizes)
        for names in set(product(*axes)):
            first = seen.setdefault((out, study.folds, *names), part.name)
            if first != part.name:
                errors[f"the parts {first} and {part.name} have cells of the same names; give one another finetune.out"] = None
    return list(errors)


class _Files:
    """Files that are laid over each other, each of which is read once."""

    def __init__(self, base: list[Path], files: list[Path]) -> None:
        self._base, self._files = base, files
        self._read: dict[Path, Source] = {}

    def sources(self, presets: Sequence[str], own: list[Source], errors: list[str]) -> list[Source]:
        """Return the sources of a part in their order; what cannot be read is added to the errors."""
        over = [self._of(path, errors) for path in [*self._base, *map(Path, presets)]]
        after = [self._of(path, errors) for path in self._files]
        return [source for source in [*over, *own, *after] if source is not None]

    def _of(self, path: Path, errors: list[str]) -> Source | None:
        path = find_preset(path)
        try:
            if path not in self._read:
                self._read[path] = read_source(path)
        except InputError as error:
            errors.append(str(error))
            return None
        return self._read[path]


def _patches(axes: Any, errors: list[str]) -> dict[str, dict[str, Any]]:
    """Return the params of every part by its name; the only one of a file without parts has an empty name."""
    if axes is None:
        return {"": {}}
    if not isinstance(axes, list) or not axes or not all(isinstance(axis, dict) and axis for axis in axes):
        errors.append(f"{PARTS}: must be a list of mappings of names to params, such as [{{masks: {{…}}, labels: {{…}}}}]")
        return {"": {}}
    named = [(str(name), patch) for axis in axes for name, patch in axis.items()]
    if wrong := [name for name, patch in named if not isinstance(patch, dict | None) or "/" in name]:
        errors.append(f"{PARTS}: must have names without / and mappings of params, but {', '.join(wrong)} has not")
        return {"": {}}
    patches: dict[str, dict[str, Any]] = {}
    for chosen in product(*(axis.items() for axis in axes)):
        merged: dict[str, Any] = {}
        for _, patch in chosen:
            merged = _laid_over(merged, patch or {})
        patches["-".join(str(name) for name, _ in chosen)] = merged
    return patches


def _laid_over(merged: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    presets = [*(merged.get(LAID_OVER) or []), *(patch.get(LAID_OVER) or [])]
    combined: dict[str, Any] = merge(merged, patch)
    return {**combined, LAID_OVER: presets} if presets else combined


def _names(value: Any, key: str, errors: list[str]) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    errors.append(f"{key.removeprefix('.')}: must be a list of presets and files, such as [labelled]")
    return []


def _about(value: Any) -> tuple[About | None, list[str]]:
    try:
        return About.model_validate(value), []
    except ValidationError as invalid:
        return None, [f"{ABOUT}.{sentence}" for _, sentence in error_sentences(invalid, value, About)]


def _once(by_part: Mapping[str, Sequence[str]]) -> list[str]:
    """Name an error once if every part has it, and otherwise with the parts that have it."""
    errors = dict.fromkeys(error for found in by_part.values() for error in found)
    having = {error: [part for part, found in by_part.items() if error in found] for error in errors}
    return [error if len(parts) == len(by_part) else f"{error} (in {', '.join(parts)})" for error, parts in having.items()]
