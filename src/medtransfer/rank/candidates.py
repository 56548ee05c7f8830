"""Candidates of a ranking: timm names, checkpoints, weights files with an architecture, fusions, and random controls."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from medtransfer import study
from medtransfer.config import Params
from medtransfer.encoders import ENCODERS
from medtransfer.encoders.timm_index import check_tag, is_model, model_names
from medtransfer.errors import InputError
from medtransfer.hashing import canonical_json
from medtransfer.pretrain.origins.package import find_installed
from medtransfer.records import CheckpointInfo, checkpoint_path, epoch_records, list_checkpoints, series_folder
from medtransfer.records.lineage import are_random
from medtransfer.records.weights_file import check_weights_file

RANDOM, AT = "random", "@"
FUSED, PLUS = "fused:", "+"
INSTALLED = "tf_efficientnet_lite0.in1k"  # of the extra `weights`
FORMS = (
    "the name of a timm model, a folder or a file of our checkpoints, FILE@ARCHITECTURE, TIMM_NAME@FILE, random, "
    "random@ARCHITECTURE or fused:CANDIDATE+CANDIDATE"
)
log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Candidate:
    """One set of encoder weights.

    Attributes:
        name: unique within a ranking.
        kind: `checkpoint`, `timm`, `file`, `random` or `fused`.
        architectures: builds and their arguments as JSON; of a file, the first that its tensors fit completely.
        file: weights file, or the record of a checkpoint; of a random control the file that says which architecture it has;
            empty for weights that timm publishes and for other random ones.
        series: folder of the pretraining that it is a checkpoint of; empty for others.
        epoch: epoch of a checkpoint.
        sources: candidates that a fusion joins; empty for others.
        continues: whether it is one of a pretraining that continues from other weights, which are its epoch 0.
    """

    name: str
    kind: str
    architectures: tuple[tuple[str, str], ...]
    file: str = ""
    series: str = ""
    epoch: int | None = None
    sources: tuple["Candidate", ...] = ()
    continues: bool = False

    @property
    def is_random(self) -> bool:
        """Whether its weights are random."""
        return self.kind == RANDOM or (self.epoch == 0 and not self.continues)


def read_candidates(texts: Sequence[str], params: Params) -> list[Candidate]:
    """Read what the user named; `random` adds a control of every architecture that has none yet.

    Args:
        texts: one per candidate, see FORMS; none for `default_candidates`.
        params: of which `pretrain.encoders` names architectures.

    Raises:
        InputError: one is none of FORMS, a file does not exist, or there is no candidate.
    """
    texts = texts or default_candidates(params)
    named = [candidate for text in texts if text != RANDOM for candidate in _read(text, params)]
    if RANDOM in texts:
        named += _controls(named)
    if not named and texts:
        raise InputError("expected another candidate beside random, which takes its architecture; name one, or random@ARCHITECTURE")
    if not named:
        raise InputError(f"expected candidates, each {FORMS}, but got none")
    return _unique(named)


def default_candidates(params: Params) -> list[str]:
    """Return the checkpoints of the study, and the smallest installed ImageNet weights with a random control.

    Where weights are installed and no series of the study has been started, they are the only candidates, and a line says so.
    """
    series = [series_folder(Path(params.pretrain.out), *names) for names in study.study_series(params, {})]
    if not find_installed(INSTALLED):
        return list(map(str, series))
    if not any(folder.is_dir() for folder in series):
        log.info("there are no checkpoints of the study yet, such as %s; the candidates are %s and random", series[0], INSTALLED)
        series = []
    return [*map(str, series), INSTALLED, RANDOM]


def _read(text: str, params: Params) -> Iterator[Candidate]:
    path = _tidy(Path(text))
    if text.startswith(FUSED):
        yield _fusion(text.removeprefix(FUSED), params)
    elif path.is_dir():
        below = sorted(path.glob("*/epoch-*.json"))
        if below and not epoch_records(path):
            raise InputError(
                f"expected the folder of one pretraining, but got {path}, which has such folders in it; name one or several of "
                f"them, such as {below[0].parent}"
            )
        for epoch, info in list_checkpoints(path).items():
            yield _checkpoint(checkpoint_path(path, epoch), info)
    elif path.name.startswith("epoch-") and path.with_suffix(".json").is_file():
        yield _checkpoint(path.with_suffix(".json"), CheckpointInfo.read(path.with_suffix(".json")))
    elif path.is_file():
        raise InputError(f"expected the architecture of the weights in {path}, as {path}{AT}ARCHITECTURE, but got only the file")
    elif AT in text:
        yield _with_architecture(text, params)
    elif len(path.parts) > 1:  # no name of timm
        raise InputError(
            f"expected checkpoints or weights at {path}, but there are none; correct it, or run `medtransfer pretrain`"
        )
    elif is_model(text):
        check_tag(text)
        yield Candidate(text, "timm", (("timm", canonical_json({"name": text, "pretrained": True})),))
    else:
        close = ", ".join(get_close_matches(text.split(".")[0], model_names(), 3))
        similar = f"; timm has {close}" if close else ""
        raise InputError(f"expected a candidate as {FORMS}, but got {text!r}, which is none of them{similar}")


def _fusion(text: str, params: Params) -> Candidate:
    """Read candidates that are joined by a plus sign."""
    sources: list[Candidate] = []
    for name in text.split(PLUS):
        named = list(_read(name, params)) if name != RANDOM else []
        if len(named) != 1 or named[0].sources:
            raise InputError(
                f"expected one encoder by each name of the candidate {FUSED}{text}, but {name!r} names "
                f"{'a fusion' if named and named[0].sources else len(named)}; name each as {FORMS.replace(', random,', ',')}"
            )
        if not named[0].is_random and named[0].name in (source.name for source in sources):
            raise InputError(f"expected different encoders in the candidate {FUSED}{text}, but {name!r} names one of them again")
        sources += named
    return _fuse(sources)


def _fuse(sources: Sequence[Candidate]) -> Candidate:
    described = canonical_json({"sources": [source.architectures[0] for source in sources]})
    name = f"{FUSED}{PLUS.join(source.name for source in sources)}"
    kind = RANDOM if all(source.is_random for source in sources) else "fused"
    return Candidate(name, kind, (("fused", described),), sources=tuple(sources))


def _checkpoint(record: Path, info: CheckpointInfo) -> Candidate:
    architecture = (info.build, canonical_json(info.arguments))
    remark = "" if info.epoch else " (random)" if info.is_random else f" ({info.parents[-1]['origin']})"
    name = f"{record.parent.name} e{info.epoch:03d}{remark}"
    return Candidate(
        name, "checkpoint", (architecture,), str(record), str(record.parent), info.epoch, continues=not are_random(info.parents)
    )


def _with_architecture(text: str, params: Params) -> Candidate:
    """Read FILE@ARCHITECTURE, ARCHITECTURE@FILE or random@ARCHITECTURE."""
    for cut in (index for index, letter in enumerate(text) if letter == AT):
        left, right = text[:cut], text[cut + 1 :]
        if left == RANDOM:
            return Candidate(text, RANDOM, tuple(_architectures(right, params))[:1])
        file, architecture = (left, right) if Path(left).is_file() else (right, left)
        if Path(file).is_file():
            check_weights_file(Path(file), params.rank.pickle)
            architectures = tuple(_architectures(architecture, params))
            return Candidate(f"{Path(file).name}{AT}{architecture}", "file", architectures, str(_tidy(Path(file))))
    raise InputError(f"expected a weights file beside the {AT} of the candidate {text!r}, but neither side is a file; correct it")


def _architectures(name: str, params: Params) -> Iterator[tuple[str, str]]:
    """Yield the architectures of a name: that of params.yaml, the published one of our encoders, and timm's."""
    count = 0
    if name in params.pretrain.encoders:
        spec = params.pretrain.encoders[name]
        yield spec.build, canonical_json(spec.arguments)
        count += 1
    if name in ENCODERS and name != "timm":
        yield name, canonical_json({})
        count += 1
    if is_model(name):
        yield "timm", canonical_json({"name": name})
        count += 1
    if not count:
        known = ", ".join(dict.fromkeys([*params.pretrain.encoders, *ENCODERS]))
        raise InputError(f"expected an architecture among {known}, or the name of a timm model, but got {name!r}; correct it")


def _controls(named: Iterable[Candidate]) -> Iterator[Candidate]:
    """Yield a random control of every architecture of which the candidates hold no random weights."""
    named = list(named)
    covered = {architecture_key(*candidate.architectures[0]) for candidate in named if candidate.is_random}
    for candidate in named:
        build, arguments = candidate.architectures[0]
        if (key := architecture_key(build, arguments)) in covered:
            continue
        covered.add(key)
        yield _control(candidate)


def _control(candidate: Candidate) -> Candidate:
    """Return a candidate of the same architecture with random weights; of a fusion, that of its sources."""
    if candidate.sources:
        return _fuse([_control(source) for source in candidate.sources])
    build, arguments = candidate.architectures[0]
    name = f"{RANDOM}{AT}{candidate.name.split(AT)[-1] if candidate.kind == 'file' else _architecture_name(build, arguments)}"
    return Candidate(name, RANDOM, candidate.architectures, candidate.file if candidate.kind == "file" else "")


def architecture_key(build: str, arguments: str) -> tuple[str, str]:
    """Return what distinguishes architectures: of timm's names the tag of published weights does not count."""
    values = _without_weights(build, arguments)
    return build, canonical_json(values)


def _without_weights(build: str, arguments: str) -> dict[str, Any]:
    import json

    values: dict[str, Any] = json.loads(arguments)
    if build == "timm":
        values = {**values, "name": str(values["name"]).split(".")[0]}
    return {name: value for name, value in values.items() if value not in (None, False, 0.0) and name != "pretrained"}


def _architecture_name(build: str, arguments: str) -> str:
    return str(_without_weights(build, arguments)["name"]) if build == "timm" else build


def _tidy(path: Path) -> Path:
    """Return a path as one is written from the working folder, so that one file has one name."""
    whole = path.resolve()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole


def _unique(named: Sequence[Candidate]) -> list[Candidate]:
    """Drop repeated candidates; name checkpoints of folders of one name by their paths, and number what else shares a name."""
    unique = list(dict.fromkeys(named))
    folders = {candidate.series for candidate in unique if candidate.series}
    shared = {name for name in (Path(folder).name for folder in folders) if sum(Path(f).name == name for f in folders) > 1}
    unique = [
        replace(c, name=f"{c.series}{c.name.removeprefix(Path(c.series).name)}")
        if c.series and Path(c.series).name in shared
        else c
        for c in unique
    ]
    names = [candidate.name for candidate in unique]
    return [
        replace(candidate, name=f"{candidate.name} #{names[:index].count(candidate.name) + 1}")
        if names.count(candidate.name) > 1 else candidate
        for index, candidate in enumerate(unique)
    ]  # fmt: skip
