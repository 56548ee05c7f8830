"""Pydantic schema of params.yaml."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator


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
    try:
        os.path.lexists(value) or os.lstat(value)
    except FileNotFoundError:
        pass
    except OSError as fault:  # such as a name that is too long
        raise ValueError(f"must name a folder that can be made, but {fault.strerror}") from None
    return value


MOST, MOST_PIXELS, MOST_PROCESSES = 2**31 - 1, 2**14, 2**10  # of a whole number; of the side of a picture; of workers
MOST_MARGINS = 10_000  # of a search
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
Pooling = Literal["frozen", "always", "never"]


class Section(BaseModel):
    """A part of params.yaml: every key must be there, no other key may; numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Study(Section):
    """The cells that `demo`, `dvc repro` and `--study` walk."""

    encoders: list[Name]
    origins: list[Name]
    targets: list[Name]
    modes: list[Name]
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


class EncoderSpec(Section):
    """One configured encoder: the architecture to build; every other key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")

    build: Name

    @property
    def arguments(self) -> dict[str, Any]:
        """Constructor arguments; those left out take the architecture's own defaults."""
        return dict(self.model_extra or {})


def _one_or_map(value: Any) -> str:
    return "map" if isinstance(value, dict) else "one"


# One value, or a map; errors name the key of the one that was written.
OneOrMap = Discriminator(_one_or_map)
EpochsByEncoder = Annotated[Annotated[NonNegative, Tag("one")] | Annotated[dict[Name, NonNegative], Tag("map")], OneOrMap]
ImagesByEncoder = Annotated[Annotated[Positive, Tag("one")] | Annotated[dict[Name, Positive], Tag("map")], OneOrMap]
Files = Annotated[dict[Positive, Place], Field(min_length=1)]
FilesByEpoch = Annotated[Annotated[Place, Tag("one")] | Annotated[Files, Tag("map")], OneOrMap]


class SupervisedOrigin(Section):
    """Classification of the source images: augmentation, warm-up and batch size, the latter two also by encoder name."""

    kind: Literal["supervised"]
    randaugment: bool
    cutmix: Probability
    mixup: Probability
    erasing: Probability
    warmup: EpochsByEncoder
    batch_size: ImagesByEncoder

    @model_validator(mode="after")
    def _mixing_leaves_room(self) -> "SupervisedOrigin":
        if self.cutmix + self.mixup > 1:
            raise ValueError("cutmix + mixup must not exceed 1")
        return self


Mean = Annotated[Real, Field(ge=-1000, le=1000)]
Deviation = Annotated[Real, Field(ge=0.001, le=1000)]


class InputContract(Section):
    """What imported weights expect: pixels a side, mean and standard deviation per channel in [0, 1] units, channel order."""

    size: Pixels
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Deviation, Deviation, Deviation]
    channels: Literal["RGB", "BGR", "grey"]


class FileOrigin(Section):
    """Weights files: one that stands for `epoch`, or several by their epochs."""

    kind: Literal["file"]
    weights: FilesByEpoch
    epoch: Positive | None
    source: Name
    pickle: bool
    allow_partial: bool
    input: InputContract | None

    @model_validator(mode="after")
    def _every_file_has_an_epoch(self) -> "FileOrigin":
        if isinstance(self.weights, str) == (self.epoch is None):
            raise ValueError("epoch must be that of the one file in weights, or null where weights maps epochs to files")
        return self

    @property
    def files(self) -> dict[int, Path]:
        """Weights files by the epoch that they stand for."""
        weights = {self.epoch: self.weights} if isinstance(self.weights, str) else self.weights
        return {epoch: Path(weights[epoch]) for epoch in sorted(epoch for epoch in weights if epoch is not None)}


class PackageOrigin(Section):
    """ImageNet weights from an installed package: the folder of their copies, and the epoch that they stand for."""

    kind: Literal["package"]
    folder: Out
    epoch: Positive


Origin = Annotated[SupervisedOrigin | FileOrigin | PackageOrigin, Field(discriminator="kind")]


class Pretrain(Section):
    """Encoder checkpoints: where their weights come from, and how they are trained."""

    out: Out
    source: Name
    source_root: Place
    encoder: Name
    encoders: dict[Name, EncoderSpec]
    origin: Name
    origins: dict[Name, Origin]
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
    stop_by: Name
    workers: Annotated[NonNegative, Field(le=MOST_PROCESSES)]
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
    """Checkpoints and a prepared target to scores of every indicator asked for."""

    out: Out
    target: Name
    encoder: Name
    origin: Name
    split: Name
    max_images: Annotated[Whole, Field(ge=2)] | None
    seed: NonNegative
    repeats: Annotated[Positive, Field(le=1000)]
    negative: Literal["random", "paper"]
    distance: Name
    margin: AtLeastZero
    level: Below
    pooling: Pooling
    margins: list[AtLeastZero]
    indicators: list[Name]
    pixels: Positive
    batch_size: Positive
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]


class Finetune(Section):
    """A checkpoint and a prepared target to a model and its metrics."""

    out: Out
    target: Name
    encoder: Name
    origin: Name
    epoch: NonNegative
    mode: Name
    decoder: Name | None
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
    workers: Annotated[NonNegative, Field(le=MOST_PROCESSES)]
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    compile: bool


class Grid(Section):
    """All cells of the study as one job: where its pieces run."""

    launcher: Literal["local", "ray"]
    workers: Annotated[Positive, Field(le=MOST_PROCESSES)] | None
    retries: NonNegative
    cpus: Rate
    gpus: AtLeastZero
    address: Place | None
    out: Out


class Report(Section):
    """The tracking store to tables, figures and a page."""

    out: Out
    draws: Annotated[Whole, Field(ge=100, le=10**6)]
    confidence: Annotated[Real, Field(gt=0.5, lt=1)]
    seed: NonNegative


class Margins(Section):
    """Margins of the robustness from `low` to `high` in steps."""

    low: AtLeastZero
    high: AtLeastZero
    step: Rate

    @model_validator(mode="after")
    def _check_range(self) -> "Margins":
        if self.low > self.high:
            raise ValueError(f"margins must go from low to high, not from {self.low} to {self.high}")
        if self.high - self.low > MOST_MARGINS * self.step:
            raise ValueError(f"at most {MOST_MARGINS} steps fit between {self.low} and {self.high}, so the step must be larger")
        return self


class Search(Section):
    """The settings of robustness to try on stored results."""

    out: Out
    results: Literal["own", "replay"]
    per_encoder: bool
    distances: Annotated[list[Name], Field(min_length=1)]
    margins: Margins
    levels: Annotated[list[Below], Field(min_length=1)]
    poolings: Annotated[list[Pooling], Field(min_length=1)]


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
