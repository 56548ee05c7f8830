"""Inputs of a study: which raw datasets, source images and weights files are here, and where missing ones belong."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import medtransfer
from medtransfer import study
from medtransfer.config import CatalogueOrigin, FileOrigin, FusedOrigin, Params, SeriesOrigin, Target
from medtransfer.config.study_files import StudyFile
from medtransfer.errors import InputError
from medtransfer.pretrain.catalogue.entries import entry_of
from medtransfer.pretrain.catalogue.published_files import find_file
from medtransfer.pretrain.start import needed_origin, source_of
from medtransfer.records import PRETRAINING_FILE, TARGET_FILE, series_folder

READERS = Path(medtransfer.__file__).parent / "prepare" / "readers"
PREPARED, HERE, GENERATED, MISSING = "prepared", "here", "generated", "missing"
TARGET, SOURCE, WEIGHTS = "target", "source", "weights"
OWN_DATA = "the user's own data"  # what readers of any folder document as their source


@dataclass(frozen=True)
class Input:
    """What a study needs from elsewhere.

    Attributes:
        kind: `target`, a raw dataset to prepare; `source`, images to pretrain on; or `weights`, a file of an origin.
        name: name of the target, source or origin.
        state: `prepared` (imported, or trained on), `here`, `generated` by `medtransfer samples`, or `missing`.
        path: where it is expected.
        layout: what the folder or file holds, in several lines; empty where the message says all.
        message: what to do, where it is missing.
    """

    kind: str
    name: str
    state: str
    path: str
    layout: str = ""
    message: str = ""


def list_inputs(chosen: StudyFile) -> list[Input]:
    """List what all parts of a study need, each once; nothing is written, and no image is read."""
    seen: dict[tuple[str, str, str], Input] = {}
    for part in chosen.parts:
        params = part.params
        targets = (_target(params, name) for name in params.study.targets)
        for one in (*targets, *_sources(params), *_weights(params, chosen)):
            seen.setdefault((one.kind, one.name, one.path), one)
    return list(seen.values())


def _target(params: Params, name: str) -> Input:
    target = params.prepare.targets[name]
    root, note = Path(target.root), ""
    if (Path(params.prepare.out) / name / TARGET_FILE).exists():
        state = PREPARED
    elif study.is_sample(params, root):
        state = GENERATED
    elif _is_here(root):
        state = HERE
    else:
        state, note = MISSING, f"put the dataset of the reader {target.reader} into {root}, as its authors publish it"
    return Input(TARGET, name, state, str(root), _layout(target), note)


def _layout(target: Target) -> str:
    """Return the layout that a target's reader documents, or of a reader of any folder what the target says about this one.

    A reader that cuts the pictures of another one names that in the option `of`.
    """
    layout = layout_of(str(target.options.get("of", target.reader)))
    if OWN_DATA not in layout:
        return layout
    said = {name: value for name, value in target.options.items() if name in ("images", "masks", "table", "image", "suffix")}
    return "\n".join(f"    {name}: {', '.join(value) if isinstance(value, list) else value}" for name, value in said.items())


def _is_here(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _sources(params: Params) -> Iterator[Input]:
    series = all_series(params)
    for origin in dict.fromkeys(origin for _, origin in series):
        if not study.is_trained(params, origin):
            continue
        name, root = source_of(params.pretrain.model_copy(update={"origin": origin}))
        if target := source_target(params, root):
            yield replace(_target(params, target), kind=SOURCE, path=str(root))
        elif study.is_sample(params, root) or _is_here(root):
            yield Input(SOURCE, name, GENERATED if study.is_sample(params, root) else HERE, str(root))
        elif all(_is_finished(params, *names) for names in series if names[1] == origin):
            yield Input(SOURCE, name, PREPARED, str(root))
        else:
            note = f"put the source images into {root}: train/<class>/*.jpg and val/<class>/*.jpg"
            yield Input(SOURCE, name, MISSING, str(root), "", note)


def _is_finished(params: Params, encoder: str, origin: str) -> bool:
    return (series_folder(Path(params.pretrain.out), encoder, origin) / PRETRAINING_FILE).exists()


def source_target(params: Params, root: Path) -> str | None:
    """Return the target that a source is when it is prepared; None for other folders."""
    return next((name for name in params.prepare.targets if Path(params.prepare.out) / name == root), None)


def _weights(params: Params, chosen: StudyFile) -> Iterator[Input]:
    for encoder, origin in all_series(params):
        entry = params.pretrain.origins[origin]
        if _is_finished(params, encoder, origin):
            yield Input(WEIGHTS, origin, PREPARED, str(series_folder(Path(params.pretrain.out), encoder, origin)))
        elif isinstance(entry, CatalogueOrigin):
            yield _published(origin, entry)
        elif isinstance(entry, FileOrigin | SeriesOrigin):
            files = list(entry.files.values()) if isinstance(entry, FileOrigin) else [Path(entry.weights)]
            lacking = [str(file) for file in files if not file.exists()]
            yield Input(WEIGHTS, origin, MISSING if lacking else HERE, str(files[0]), "",
                        f"put the weights into {', '.join(lacking)}" if lacking else "")  # fmt: skip
        elif isinstance(entry, FusedOrigin):
            yield _fused(origin, entry, chosen)


def all_series(params: Params) -> list[tuple[str, str]]:
    """List the series of a study, and those that they continue from or average."""
    series = study.study_series(params, {})
    for encoder, origin in series:  # the list grows
        parent = needed_origin(params.pretrain.model_copy(update={"origin": origin}))
        if parent and (encoder, parent) not in series:
            series.append((encoder, parent))
    return series


def missing_of(params: Params, missing: Sequence[Input], chosen: StudyFile) -> set[str]:
    """Return the origins of a part that need something missing."""
    names, paths = {one.name for one in missing if one.kind == WEIGHTS}, {one.path for one in missing if one.kind == SOURCE}
    lacking = {origin for _, origin in all_series(params) if origin in names}
    for _, origin in all_series(params):
        section = params.pretrain.model_copy(update={"origin": origin})
        if study.is_trained(params, origin) and str(source_of(section)[1]) in paths:
            lacking.add(origin)
    for _ in params.pretrain.origins:  # and what is made from them
        lacking |= {
            origin for _, origin in all_series(params)
            if needed_origin(params.pretrain.model_copy(update={"origin": origin})) in lacking
        }  # fmt: skip
    fused = {name: entry for name, entry in params.pretrain.origins.items() if isinstance(entry, FusedOrigin)}
    others = {
        str(series_folder(Path(part.params.pretrain.out), encoder, origin))
        for part in chosen.parts for encoder, origin in all_series(part.params) if origin in names
    }  # fmt: skip
    return lacking | {name for name, entry in fused.items() if any(str(Path(source).parent) in others for source in entry.sources)}


def _published(origin: str, entry: CatalogueOrigin) -> Input:
    expected = Path(entry.folder) / f"{entry.id}.pth"
    try:
        return Input(WEIGHTS, origin, HERE, str(find_file(entry, entry_of(entry))))
    except InputError:
        known = entry_of(entry)
        note = f"put the file into {expected} (or .safetensors); published: {known.published}; licence: {known.licence}"
        return Input(WEIGHTS, origin, MISSING, str(expected), "", note)


def _fused(origin: str, entry: FusedOrigin, chosen: StudyFile) -> Input:
    """Return the checkpoints that a fusion is made of; those of the study itself are made before."""
    own = {
        str(series_folder(Path(part.params.pretrain.out), *series))
        for part in chosen.parts for series in study.study_series(part.params, {})
    }  # fmt: skip
    files = [source for source in entry.sources if str(Path(source).parent) not in own]
    lacking = [source for source in files if not Path(f"{source.removesuffix('.json')}.json").exists()]
    note = f"make the checkpoints {', '.join(lacking)} first" if lacking else ""
    return Input(WEIGHTS, origin, MISSING if lacking else GENERATED, entry.sources[0], "", note)


def layout_of(reader: str) -> str:
    """Return how a reader's dataset is laid out on disk, and its source: lines of the documentation of its file."""
    path = READERS / f"{reader.replace('-', '_')}.py"
    if not path.is_file():
        return ""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    if other := re.search(r"^Source, layout\b.* are those of `(\w+)\.py`", text, re.MULTILINE):
        return layout_of(other[1])
    lines = text.splitlines()
    source = next((line.split(". Citation")[0] for line in lines if line.startswith("Source: ")), "")
    first = next((number for number, line in enumerate(lines) if line.startswith("    ")), len(lines))
    example = list(lines[first:])
    end = next((number for number, line in enumerate(example) if line and not line.startswith("    ")), len(example))
    shown = [line.rstrip() for line in example[:end]]
    return "\n".join([*([f"    {source}"] if source else []), *[line for line in shown if line]])
