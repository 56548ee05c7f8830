"""params.yaml and what overrides it go in; validated, typed, frozen sections come out, or all faults at once."""

import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from medtransfer.errors import InputError


def _no_truth(value: Any) -> Any:
    """Refuse true and false, which Python takes for the numbers 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _no_file(value: str) -> str:
    """Refuse the path of an output folder that cannot be made, since a file stands in its place or above it."""
    there = next((path for path in (Path(value), *Path(value).parents) if os.path.lexists(path)), Path())
    if not there.is_dir():
        raise ValueError(f"must name a folder, but {there} is none")
    return value


MOST, MOST_PIXELS = 2**31 - 1, 2**14  # of a whole number, and of the side of a picture
DEEPEST = 50  # that values in a file may be nested
Whole = Annotated[int, BeforeValidator(_no_truth), Field(le=MOST)]
Real = Annotated[float, BeforeValidator(_no_truth)]
Positive = Annotated[Whole, Field(gt=0)]
NonNegative = Annotated[Whole, Field(ge=0)]
Below = Annotated[Whole, Field(lt=0, ge=-MOST)]
Pixels = Annotated[Positive, Field(le=MOST_PIXELS)]
AtLeastZero = Annotated[Real, Field(ge=0)]
Probability = Annotated[Real, Field(ge=0, le=1)]
BelowOne = Annotated[Real, Field(ge=0, lt=1)]
Rate = Annotated[Real, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Place = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
Out = Annotated[Place, AfterValidator(_no_file)]
Mode = Literal["full", "decoder"]
Pooling = Literal["frozen", "always", "never"]


class Section(BaseModel):
    """A part of params.yaml: every key must be there, no other key may; numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Study(Section):
    """The cells that `demo`, `dvc repro` and `--study` walk."""

    encoders: list[Name]
    schemes: list[Name]
    targets: list[Name]
    modes: list[Mode]
    seeds: list[NonNegative]


class Samples(Section):
    """Sizes of the generated datasets."""

    out: Out
    seed: NonNegative
    patients: Positive
    lungs: Positive
    retinas: Positive
    pictures: Positive


class Target(Section):
    """One dataset to prepare."""

    reader: Name
    root: Place
    size: tuple[Pixels, Pixels]
    subset: bool
    split: Literal["official"] | dict[str, Any]
    validation: BelowOne
    allow_duplicates: bool
    options: dict[str, Any]


class Prepare(Section):
    """Raw datasets to prepared targets."""

    out: Out
    target: Name
    targets: dict[Name, Target]


class Scheme(Section):
    """How one pretraining scheme augments and batches."""

    randaugment: bool
    cutmix: Probability
    mixup: Probability
    erasing: Probability
    warmup: dict[Name, NonNegative]
    batch_size: dict[Name, Positive]

    @model_validator(mode="after")
    def _mixing_leaves_room(self) -> "Scheme":
        if self.cutmix + self.mixup > 1:
            raise ValueError("cutmix + mixup must not exceed 1")
        return self


class Pretrain(Section):
    """Source images to encoder checkpoints."""

    out: Out
    source: Name
    source_root: Place
    encoder: Name
    encoders: dict[Name, dict[str, Any]]
    scheme: Name
    schemes: dict[Name, Scheme]
    lr: Rate
    lr_batch: Positive
    micro_batch: Positive
    betas: tuple[BelowOne, BelowOne]
    weight_decay: AtLeastZero
    label_smoothing: BelowOne
    size: Pixels
    epochs: Positive
    checkpoints: list[Positive]
    seed: NonNegative
    stop_on: Name | None
    weights: Place | None
    weights_epoch: Positive
    weights_pickle: bool
    allow_partial: bool
    workers: NonNegative
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    devices: Positive
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    compile: bool

    @model_validator(mode="after")
    def _checkpoints_lie_inside(self) -> "Pretrain":
        if late := [epoch for epoch in self.checkpoints if epoch > self.epochs]:
            raise ValueError(f"checkpoints {late} come after the last of {self.epochs} epochs")
        return self


class Score(Section):
    """Checkpoints and a prepared target to robustness."""

    out: Out
    target: Name
    encoder: Name
    scheme: Name
    split: Name
    max_images: Annotated[Whole, Field(ge=2)] | None
    seed: NonNegative
    repeats: Positive
    negative: Literal["random", "paper"]
    distance: Name
    margin: AtLeastZero
    level: Below
    pooling: Pooling
    margins: list[AtLeastZero]
    batch_size: Positive
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]


class Finetune(Section):
    """A checkpoint and a prepared target to a segmentation model and its Dice."""

    out: Out
    target: Name
    encoder: Name
    scheme: Name
    epoch: NonNegative
    mode: Mode
    seed: NonNegative
    train_epochs: Positive
    epoch_steps: Positive | None
    batch_size: Positive
    lr: Rate
    power: AtLeastZero
    momentum: BelowOne
    weight_decay: AtLeastZero
    select: Literal["last", "validation"]
    overlays: NonNegative
    workers: NonNegative
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    compile: bool


class Grid(Section):
    """All cells of the study as one job: where its pieces run."""

    launcher: Literal["local", "ray"]
    workers: Positive | None
    retries: NonNegative
    cpus: Rate
    gpus: AtLeastZero
    address: Place | None
    out: Out


class Report(Section):
    """The tracking store to tables, figures and a page."""

    out: Out
    draws: Annotated[Whole, Field(ge=100)]
    confidence: Annotated[Real, Field(gt=0.5, lt=1)]
    seed: NonNegative


class Search(Section):
    """Stored pairs and Dice to the setting of robustness that chooses best."""

    out: Out
    name: Name
    results: Literal["own", "replay"]
    storage: Place | None
    trials: Positive
    workers: Positive
    seed: NonNegative
    per_encoder: bool
    distances: Annotated[list[Name], Field(min_length=1)]
    margin: tuple[AtLeastZero, AtLeastZero]
    levels: Annotated[list[Below], Field(min_length=1)]
    poolings: Annotated[list[Pooling], Field(min_length=1)]

    @model_validator(mode="after")
    def _margins_rise(self) -> "Search":
        if self.margin[0] > self.margin[1]:
            raise ValueError(f"margin must go from low to high, not from {self.margin[0]} to {self.margin[1]}")
        return self


class Replay(Section):
    """The paper's released result files to the tracking store, and its tables computed again."""

    out: Out
    downstream: Place | None
    robustness: Place | None


class Params(Section):
    """The whole of params.yaml."""

    study: Study
    samples: Samples
    prepare: Prepare
    pretrain: Pretrain
    score: Score
    finetune: Finetune
    grid: Grid
    report: Report
    search: Search
    replay: Replay


# What is defined by name, and the places that use the names.
DEFINED = {"encoder": "pretrain.encoders", "scheme": "pretrain.schemes", "target": "prepare.targets"}
USED = {
    "encoder": ("study.encoders", "pretrain.encoder", "score.encoder", "finetune.encoder"),
    "scheme": ("study.schemes", "pretrain.scheme", "score.scheme", "finetune.scheme"),
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
        faults = [_sentence(error) for error in fault.errors()] + faults
    if faults:
        raise InputError(f"{len(faults)} fault(s) in {where}: {'; '.join(faults)}")
    return params


def _undefined_names(merged: dict[str, Any]) -> list[str]:
    """Name every encoder, scheme and target that is used but not defined; values of a wrong kind are pydantic's to name."""
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


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is there


class _Loader(_Safe):
    """Reads plain values only; a key that stands twice is refused, since one of its values would silently be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise ValueError(f"the key {reprlib.repr(twice)} stands twice")
        return found


def parse(text: str) -> Any:
    """Read YAML of plain values.

    Raises:
        ValueError: it is no YAML, is nested too deep, names a key twice, asks for Python objects, or has an alias, by which a
            short text could stand for a value of any size.
    """
    try:
        _refuse_growth(text)
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as fault:
        raise ValueError(" ".join(str(fault).split())) from None
    except (RecursionError, OverflowError, TypeError, AttributeError) as fault:  # a TypeError comes from a key that is a list
        raise ValueError(str(fault) or type(fault).__name__) from None


def _refuse_growth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, _Safe):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line} has the alias *{event.anchor}; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"line {line} is nested more than {DEEPEST} deep")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder, a pipe or a device")
        value = parse(path.read_text(encoding="utf-8"))
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
    """Merge two nested mappings; everything that is no mapping is replaced, and so are reader options."""
    if not (isinstance(base, dict) and isinstance(patch, dict)) or key in {"options", "split"}:
        return patch
    return {**base, **{name: _lay_over(base.get(name), value, name) for name, value in patch.items()}}


_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80


def _sentence(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "params"
    got = "" if error["type"] in {"missing", "extra_forbidden", "value_error"} else f" (got {_brief.repr(error['input'])})"
    message = {"missing": "is missing", "extra_forbidden": "is not a known key"}.get(error["type"], error["msg"])
    return f"{place}: {message.removeprefix('Value error, ')}{got}"
