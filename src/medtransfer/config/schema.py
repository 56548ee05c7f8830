"""Pydantic schema of params.yaml."""

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator


def _no_bool(value: Any) -> Any:
    """Refuse true and false, which pydantic would convert to the numbers 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _no_dot(value: str) -> str:
    """Refuse a name that DVC and dotted keys such as `prepare.targets.<name>.size` would take for two levels."""
    if "." in value:
        raise ValueError("must have no dot, which separates the levels of a key; write - or _ instead")
    return value


def _no_file(value: str) -> str:
    """Refuse an output folder that cannot be made, since it or one of its parents is a file, or its name is invalid."""
    existing = next((path for path in (Path(value), *Path(value).parents) if os.path.lexists(path)), Path())
    if not existing.is_dir():
        raise ValueError(f"must name a folder, but {existing} is none")
    try:
        os.lstat(value)
    except FileNotFoundError:
        pass
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"must name a folder that can be made, but {error.strerror}") from None
    return value


MOST, MOST_PIXELS, MOST_PROCESSES = 2**31 - 1, 2**14, 2**10  # largest integer; longest side of a picture; most workers
MOST_MARGINS = 10_000  # in a search
Whole = Annotated[int, BeforeValidator(_no_bool), Field(le=MOST)]
Real = Annotated[float, BeforeValidator(_no_bool)]
Positive = Annotated[Whole, Field(gt=0)]
NonNegative = Annotated[Whole, Field(ge=0)]
Below = Annotated[Whole, Field(lt=0, ge=-MOST)]
Pixels = Annotated[Positive, Field(le=MOST_PIXELS)]
AtLeastZero = Annotated[Real, Field(ge=0)]
Probability = Annotated[Real, Field(ge=0, le=1)]
BelowOne = Annotated[Real, Field(ge=0, lt=1)]
OpenShare = Annotated[Real, Field(gt=0, lt=1)]
Rate = Annotated[Real, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Defined = Annotated[Name, AfterValidator(_no_dot)]  # a name that params.yaml defines
Place = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
Out = Annotated[Place, AfterValidator(_no_file)]
Pooling = Literal["frozen", "always", "never"]


class Section(BaseModel):
    """A section of params.yaml: every key is required, no other key is allowed, and numbers are finite.

    The docstrings of the fields are the help of the command line's options and the comments in params.yaml.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Study(Section):
    """The cells that `demo`, `dvc repro` and `--study` run."""

    encoders: list[Name]
    """encoders, of pretrain.encoders"""
    origins: list[Name]
    """origins of their weights, of pretrain.origins"""
    targets: list[Name]
    """targets, of prepare.targets"""
    modes: list[Name]
    """modes of transfer"""
    seeds: list[NonNegative]
    """seeds of the fine-tunings"""
    pretraining_seeds: list[NonNegative]
    """seeds of the pretrainings, each of which is an origin `<origin>-s<seed>`; empty: one each, by pretrain.seed"""


class Samples(Section):
    """Sizes of the generated datasets."""

    out: Out
    """folder of the generated datasets"""
    seed: NonNegative
    """seed of the generated pictures"""
    patients: Positive
    """heart: NIfTI patients, ED and ES frames each"""
    lungs: Positive
    """chest pictures"""
    retinas: Positive
    """fundus pictures"""
    pictures: Positive
    """source pictures per class, ten classes"""


class NewTarget(Section):
    """How a folder is prepared that is named on the command line alone, where the command does not say otherwise."""

    reader: Name
    """reader of the raw dataset"""
    size: tuple[Pixels, Pixels]
    """(height, width) of the stored images"""
    subset: bool
    """true: fewer images than the official counts are expected"""
    split: Literal["official", "auto", "none"] | dict[str, Any]
    """official | auto: official, else a drawn fifth | none: all train, to score on | {test: fraction, seed: int} | {file: csv}"""
    validation: BelowOne
    """fraction of the training groups split off for model selection"""
    allow_duplicates: bool
    """true: equal images in two splits are no error"""
    options: dict[str, Any]
    """options of the reader"""


class Target(NewTarget):
    """One dataset to prepare."""

    root: Place
    """folder of the raw dataset"""


class Prepare(Section):
    """Preparation of raw datasets."""

    out: Out
    """folder of all prepared targets"""
    target: Name
    """which of `targets` to prepare"""
    new: NewTarget
    """a folder of `prepare --root FOLDER`, where the command does not say otherwise"""
    targets: dict[Defined, Target]


class EncoderSpec(Section):
    """One configured encoder: the architecture to build; every other key is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")

    build: Name
    """architecture to build"""

    @model_validator(mode="after")
    def _is_of_colour(self) -> "EncoderSpec":
        if "in_channels" in self.arguments:
            raise ValueError(
                "no argument in_channels: encoders are pretrained on three channels, and adapted to the channels of each target; "
                "remove it"
            )
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """Constructor arguments; the architecture has defaults for the others."""
        return dict(self.model_extra or {})


def _one_or_map(value: Any) -> str:
    return "map" if isinstance(value, dict | BaseModel) else "one"


# One value or a map; with a discriminator, errors name the alternative that was written.
OneOrMap = Discriminator(_one_or_map)
EpochsByEncoder = Annotated[Annotated[NonNegative, Tag("one")] | Annotated[dict[Name, NonNegative], Tag("map")], OneOrMap]
ImagesByEncoder = Annotated[Annotated[Positive, Tag("one")] | Annotated[dict[Name, Positive], Tag("map")], OneOrMap]
Files = Annotated[dict[Positive, Place], Field(min_length=1)]
FilesByEpoch = Annotated[Annotated[Place, Tag("one")] | Annotated[Files, Tag("map")], OneOrMap]


class RandAugment(Section):
    """RandAugment: random operations of the same magnitude."""

    ops: Positive
    """operations per image"""
    magnitude: NonNegative
    """magnitude of the operations, at most `scale`"""
    scale: Positive
    """magnitude of a rotation by 30 degrees: 30 in torchvision, 10 in timm"""

    @model_validator(mode="after")
    def _check_magnitude(self) -> "RandAugment":
        if self.magnitude > self.scale:
            raise ValueError(f"magnitude must not exceed the scale, {self.scale}")
        return self


def _no_true(value: Any) -> Any:
    if value is True:
        raise ValueError("must be false, or say how much: {ops: 2, magnitude: 9, scale: 30}")
    return value


RandAugmentOption = Annotated[
    Annotated[Literal[False], Tag("one")] | Annotated[RandAugment, Tag("map")], OneOrMap, BeforeValidator(_no_true)
]


class SupervisedOrigin(Section):
    """Classification of the source images: augmentation, warm-up and batch size, the latter two also by encoder name."""

    kind: Literal["supervised"]
    """trained on the labelled source images"""
    randaugment: RandAugmentOption
    """RandAugment of the images, or false"""
    cutmix: Probability
    """probability of CutMix"""
    mixup: Probability
    """probability of mixup"""
    erasing: Probability
    """probability of random erasing"""
    warmup: EpochsByEncoder
    """epochs of warm-up; one number, or by encoder"""
    batch_size: ImagesByEncoder
    """images per optimiser step; one number, or by encoder"""
    seed: NonNegative | None
    """seed of this origin alone; null: pretrain.seed, or each of study.pretraining_seeds"""

    @model_validator(mode="after")
    def _check_mixing(self) -> "SupervisedOrigin":
        if self.cutmix + self.mixup > 1:
            raise ValueError("cutmix + mixup must not exceed 1")
        return self


Mean = Annotated[Real, Field(ge=-1000, le=1000)]
Deviation = Annotated[Real, Field(ge=0.001, le=1000)]


class InputContract(Section):
    """Input of imported weights: side in pixels, mean and standard deviation per channel in [0, 1] units, channel order."""

    size: Pixels
    """side of the images, in pixels"""
    mean: tuple[Mean, Mean, Mean]
    """mean per channel, of pixels in [0, 1]"""
    std: tuple[Deviation, Deviation, Deviation]
    """standard deviation per channel, of pixels in [0, 1]"""
    channels: Literal["RGB", "BGR", "grey"]
    """order of the channels"""


class ImportedOrigin(Section):
    """What all origins have that import weights files."""

    source: Name
    """dataset that the weights were trained on, for the records"""
    pickle: bool
    """whether a pickle, which can run code, may be read"""
    allow_partial: bool
    """whether tensors may be missing, which stay random"""
    prefix: Annotated[str, Field(min_length=1)] | None
    """start of the tensor names to take, such as teacher.; null: the only encoder in the file"""
    input: InputContract | None
    """input that the weights expect; null: that of their record or architecture"""


class FileOrigin(ImportedOrigin):
    """Weights files: one, whose epoch is `epoch`, or several by epoch."""

    kind: Literal["file"]
    """imported from weights files"""
    weights: FilesByEpoch
    """a weights file, or files by epoch"""
    epoch: Positive | None
    """epoch of the one file; null where weights maps epochs to files"""

    @model_validator(mode="after")
    def _check_epoch(self) -> "FileOrigin":
        if isinstance(self.weights, str) == (self.epoch is None):
            raise ValueError("epoch must be that of the one file in weights, or null where weights maps epochs to files")
        return self

    @property
    def files(self) -> dict[int, Path]:
        """Weights files by epoch."""
        weights = {self.epoch: self.weights} if isinstance(self.weights, str) else self.weights
        return {epoch: Path(weights[epoch]) for epoch in sorted(epoch for epoch in weights if epoch is not None)}


def _one_group(value: str) -> str:
    """Refuse what is not a regular expression with one group."""
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"must be a regular expression, but {error}") from None
    if groups != 1:
        raise ValueError(f"must have one group, the number of the epoch, such as 'epoch(\\d+)', but has {groups}")
    return value


class SeriesOrigin(ImportedOrigin):
    """Checkpoints of one pretraining that was done elsewhere: a folder of weights files with the epoch in their names."""

    kind: Literal["series"]
    """imported from a folder of weights files"""
    weights: Place
    """folder of the weights files, or a glob such as runs/7/*.pth"""
    epoch: Annotated[str, AfterValidator(_one_group)]
    """regular expression, searched in the path below the folder, whose one group is the epoch"""
    first: Literal[0, 1]
    """number in the names after the first epoch; 0 where the files count from 0"""


class PackageOrigin(Section):
    """ImageNet weights from an installed package: the folder of their copies, and the epoch that is recorded for them."""

    kind: Literal["package"]
    """imported from an installed package"""
    folder: Out
    """folder of the copies of the weights"""
    epoch: Positive
    """epoch that is recorded for the weights"""


class CatalogueOrigin(Section):
    """A published initialisation of the catalogue (`medtransfer catalogue`), from a file that is put in place beforehand."""

    kind: Literal["catalogue"]
    """a published initialisation, whose names are known"""
    id: Annotated[str, Field(min_length=1)]
    """id in the catalogue"""
    folder: Out
    """folder of the file <id>.pth, or of a folder <id> that holds it"""
    epoch: Positive | None
    """epoch that is recorded for the weights; null: that of the catalogue, 1 where it is unknown"""
    pickle: bool
    """whether a pickle, which can run code, may be read"""


Origin = Annotated[SupervisedOrigin | FileOrigin | SeriesOrigin | PackageOrigin | CatalogueOrigin, Field(discriminator="kind")]


class Pretrain(Section):
    """Encoder checkpoints: where their weights come from, and how they are trained."""

    out: Out
    """folder of all checkpoints"""
    source: Name
    """name of the source dataset, for the records"""
    source_root: Place
    """an ImageFolder: train/<class>/*.jpg, val/<class>/*.jpg"""
    encoder: Name
    """which of `encoders` to pretrain"""
    encoders: dict[Defined, EncoderSpec]
    origin: Name
    """which of `origins` its weights come from"""
    origins: dict[Defined, Origin]
    lr: Rate
    """learning rate at `lr_batch` images per step; scaled linearly to the origin's batch_size"""
    lr_batch: Positive
    """images per step that `lr` is meant for"""
    micro_batch: Positive
    """images per device and forward pass; the rest is accumulated"""
    betas: tuple[BelowOne, BelowOne]
    """AdamW's betas"""
    weight_decay: AtLeastZero
    """AdamW's weight decay"""
    decay_norms: bool
    """whether biases and norms decay, too"""
    clip_grad: Rate | None
    """largest norm of the gradient in a step; null: not clipped"""
    ema_decay: OpenShare | None
    """decay per step of a moving average of the weights, which is measured and saved; null: no average"""
    label_smoothing: BelowOne
    """label smoothing of the cross-entropy"""
    size: Pixels
    """side of the source images, in pixels"""
    epochs: Positive
    """epochs of a training to the end"""
    checkpoints: list[Positive]
    """epochs to save; epoch 0, the random initialisation, is always saved"""
    seed: NonNegative
    """seed of initialisation, order and augmentation, for origins without their own"""
    stop_on: Name | None
    """a prepared target: stop early by an indicator's values for it; null: never"""
    stop_by: Name
    """the indicator that stop_on watches"""
    stop_rule: Name
    """when to stop and which checkpoint to keep, docs/how-to/stop-early.md; first-drop: the paper's online rule"""
    workers: Annotated[NonNegative, Field(le=MOST_PROCESSES)]
    """processes that read images; 0: the main process"""
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    """device to train on; auto: a GPU where there is one"""
    devices: Positive
    """GPUs or CPU processes to train on together"""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    """precision of the arithmetic; 16-mixed: on a GPU only; bf16-mixed: also on a CPU"""
    tf32: bool
    """whether a GPU may round float32 products to TF32, which is faster"""
    reproducible: bool
    """whether the same seed gives the same bits on a GPU, too, at the cost of speed"""
    compile: bool
    """torch.compile, on a GPU only: pays on long trainings"""

    @model_validator(mode="after")
    def _check_checkpoints(self) -> "Pretrain":
        if late := [epoch for epoch in self.checkpoints if epoch > self.epochs]:
            raise ValueError(f"checkpoints {late} come after the last of {self.epochs} epochs")
        return self


class Score(Section):
    """Scores of checkpoints on a prepared target by every listed indicator."""

    out: Out
    """folder of all scores"""
    target: Name
    """prepared target to score on"""
    encoder: Name
    """encoder whose checkpoints to score"""
    origin: Name
    """origin of these checkpoints"""
    split: Name
    """samples to score on: train, test or validation"""
    max_images: Annotated[Whole, Field(ge=2)] | None
    """images at most, drawn with the seed; null: all"""
    seed: NonNegative
    """seed of views, pairs and pixels"""
    repeats: Annotated[Positive, Field(le=1000)]
    """draws of random views whose mean is the robustness"""
    negative: Literal["random", "paper"]
    """the other image of a triplet: random: drawn | paper: as in the released code"""
    distance: Name
    """distance of features in the default robustness"""
    margin: AtLeastZero
    """margin of the default robustness, in units of the distance"""
    level: Below
    """encoder level of the default robustness, -1 the deepest"""
    pooling: Pooling
    """frozen: pooled where the encoder is frozen downstream | always | never"""
    margins: list[AtLeastZero]
    """further margins that are scored"""
    indicators: list[Name]
    """indicators to measure in one pass; all: every one"""
    features: Literal["plain", "view"]
    """images that features without views are of: plain: as they are | view: the first jittered view, which saves a forward pass"""
    pixels: Annotated[Positive, Field(ge=10)]
    """embeddings at most in the sample of an indicator; with labels as many of each class"""
    blocks: NonNegative
    """parts that the patients are divided into for standard errors, each left out in turn; below 3: none"""
    settings: dict[Name, dict[str, Any]]
    """options of single indicators, by name"""
    batch_size: Positive
    """images per forward pass"""
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    """device to compute on; auto: a GPU where there is one"""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    """precision of the arithmetic; 16-mixed: on a GPU only; bf16-mixed: also on a CPU"""
    tf32: bool
    """whether a GPU may round float32 products to TF32, which is faster"""


def _finite(value: Any) -> Any:
    """Refuse infinity, NaN and values that JSON lacks, such as dates, since recipes are hashed as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must hold plain values and finite numbers ({error})") from None
    return value


Arguments = Annotated[dict[str, Any], AfterValidator(_finite)]
Transform = Annotated[dict[Name, Arguments], Field(min_length=1, max_length=1)]
Transforms = list[Transform]  # one albumentations transform each, name -> arguments; data/transforms.py checks them


class Finetune(Section):
    """Fine-tuning of a model on a prepared target from a checkpoint."""

    out: Out
    """folder of all trained models"""
    target: Name
    """prepared target to train on"""
    encoder: Name
    """encoder whose checkpoint to start from"""
    origin: Name
    """origin of this checkpoint"""
    epoch: NonNegative
    """epoch of this checkpoint; 0: random initialisation"""
    mode: Name
    """mode of transfer: the parts of the model that are trained"""
    decoder: Name | None
    """decoder of the model; null: the encoder's own"""
    seed: NonNegative
    """seed of the decoder's initialisation, order and augmentation"""
    train_epochs: Positive
    """passes over the training samples"""
    epoch_steps: Positive | None
    """optimiser steps per epoch at most; null: every training sample once"""
    batch_size: Positive
    """images per optimiser step"""
    optimiser: Literal["sgd", "adamw"]
    """optimiser; sgd: with momentum | adamw: Adam with decoupled weight decay"""
    loss: Name | None
    """training loss, such as dice, dice-ce (Dice + cross-entropy), focal or tversky; null: the task's own"""
    class_weights: Annotated[list[AtLeastZero], Field(min_length=1)] | None
    """weight of each class in the loss, the background first; null: all alike"""
    focal_gamma: AtLeastZero
    """exponent of the focal loss; 0: cross-entropy"""
    tversky_alpha: AtLeastZero
    """weight of false positives in the Tversky loss"""
    tversky_beta: AtLeastZero
    """weight of false negatives in the Tversky loss"""
    label_smoothing: BelowOne
    """share of a label's target that is spread over the others; of labels of images alone"""
    lr: Rate
    """highest learning rate"""
    schedule: Literal["polynomial", "cosine"]
    """how the learning rate falls to 0 after the warm-up"""
    power: AtLeastZero
    """power of the polynomial decay of the learning rate; 0: constant"""
    warmup: NonNegative
    """epochs in which the learning rate rises linearly first"""
    layer_decay: Annotated[Real, Field(gt=0, le=1)]
    """factor on the learning rate from one layer of the encoder to the one before it; 1: all layers alike"""
    momentum: BelowOne
    """momentum of SGD, or first beta of AdamW, beside 0.999"""
    weight_decay: AtLeastZero
    """weight decay of the optimiser"""
    decay_norms: bool
    """whether biases and norms decay, too"""
    clip_grad: Rate | None
    """largest norm of the gradient in a step; null: not clipped"""
    ema_decay: OpenShare | None
    """decay per step of a moving average of the weights, which is tested and kept; null: no average"""
    augmentation: Transforms | None
    """albumentations transforms in their order, such as [{HorizontalFlip: {p: 0.5}}]; null: the target's own; []: none"""
    validate_every: Positive
    """epochs from one look at the validation samples, if there are any, to the next; the last epoch always has one"""
    patience: Positive | None
    """epochs without a better validation result after which the training stops; null: never"""
    select: Literal["last", "validation"]
    """epoch whose model is kept: the last, or the best on validation samples"""
    evaluate: Literal["test", "validation"]
    """samples that the trained model is evaluated on; validation: the test set is not looked at"""
    validation: BelowOne
    """fraction of the training groups (patients) held out as validation samples, of a target without; 0: none"""
    validation_seed: NonNegative
    """seed of the groups that are held out"""
    ten_crop: bool
    """whether the test result is the mean over ten crops of each image; of labels of images alone"""
    overlays: NonNegative
    """test images drawn with their prediction"""
    keep: Literal["weights", "metrics"]
    """what is kept of a cell; weights: the model, too | metrics: everything but the model"""
    workers: Annotated[NonNegative, Field(le=MOST_PROCESSES)]
    """processes that read samples; 0: the main process"""
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    """device to train on; auto: a GPU where there is one"""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    """precision of the arithmetic; 16-mixed: on a GPU only; bf16-mixed: also on a CPU"""
    tf32: bool
    """whether a GPU may round float32 products to TF32, which is faster"""
    reproducible: bool
    """whether the same seed gives the same bits on a GPU, too, at the cost of speed"""
    compile: bool
    """torch.compile, on a GPU only: pays on long trainings"""

    @model_validator(mode="after")
    def _check_recipe(self) -> "Finetune":
        if self.warmup >= self.train_epochs:
            raise ValueError(f"the warm-up of {self.warmup} epochs must be shorter than the training of {self.train_epochs}")
        if self.class_weights is not None and not any(self.class_weights):
            raise ValueError("class_weights must not all be 0")
        return self


class Grid(Section):
    """All cells of the study as one job, and where it runs."""

    launcher: Literal["local", "ray"]
    """local: processes of this machine | ray: a Ray cluster"""
    workers: Annotated[Positive, Field(le=MOST_PROCESSES)] | None
    """local: processes; null: as many as GPUs, or else cores, allow"""
    retries: NonNegative
    """more attempts for a job whose process or host died"""
    cpus: Rate
    """cores that a job takes, a pretraining for each of its devices"""
    gpus: AtLeastZero
    """GPUs that a job takes where there are any; 0.5: two jobs share one"""
    address: Place | None
    """ray: address of an existing cluster, such as auto; null: one on this machine"""
    out: Out
    """folder of the workers' log files"""


class Report(Section):
    """Tables, figures and a page from the tracking store."""

    out: Out
    """folder of tables, figures and the page"""
    draws: Annotated[Whole, Field(ge=100, le=10**6)]
    """draws of images, patients, permutations and P(best)"""
    confidence: Annotated[Real, Field(gt=0.5, lt=1)]
    """confidence of the intervals, as a fraction"""
    seed: NonNegative
    """seed of the bootstrap"""
    margin: Rate
    """differences of TIS up to this count as equivalent"""
    least: AtLeastZero
    """share of the way from chance to the best metric up to which models learned nothing; such configurations are not judged"""
    patients: NonNegative
    """most fine-tunings whose test patients are resampled; 0: none"""


class Margins(Section):
    """Margins of the robustness from `low` to `high` in steps."""

    low: AtLeastZero
    """lowest margin"""
    high: AtLeastZero
    """highest margin"""
    step: Rate
    """difference of neighbouring margins"""

    @model_validator(mode="after")
    def _check_range(self) -> "Margins":
        if self.low > self.high:
            raise ValueError(f"margins must go from low to high, not from {self.low} to {self.high}")
        if self.high - self.low > MOST_MARGINS * self.step:
            raise ValueError(f"at most {MOST_MARGINS} steps fit between {self.low} and {self.high}, so the step must be larger")
        return self


class Rank(Section):
    """Candidate encoders to rank on the images of a target, before any fine-tuning."""

    out: Out
    """folder of the ranking"""
    target: Name | None
    """prepared target to rank on; null: the first of study.targets"""
    images: Place | None
    """folder of images to rank on instead of `target`; null: the target"""
    masks: Place | None
    """folder of their masks; null: none, which leaves out every indicator that needs labels"""
    options: dict[str, Any]
    """options of the folder reader for images and masks, such as {group: '(case[0-9]+)_'}"""
    size: Annotated[list[Pixels], Field(min_length=2, max_length=2)]
    """(height, width) that images and masks are resized to"""
    candidates: list[Place]
    """timm names, files and folders of checkpoints, FILE@ARCHITECTURE, random; empty: those of the study, and installed weights"""
    pickle: bool
    """whether weights files may be pickles (.pt, .pth), of which only tensors and plain values are read"""
    indicators: list[Name]
    """indicators to rank by, measured in one pass; all: every one"""
    by: Name
    """indicator that the verdict rests on where there are masks"""
    stride: Positive
    """pixels per cell of the ranked level, so that all candidates get the masks on one grid; the nearest that an encoder has"""
    level: Below | None
    """encoder level that is ranked whatever its stride, -1 the deepest; null: by `stride`"""
    repeats: Annotated[Positive, Field(le=1000)]
    """pairs of jittered views per image"""
    features: Literal["plain", "view"]
    """images that features are of: plain: as they are | view: the first jittered view, which saves a forward pass"""
    pixels: Annotated[Positive, Field(ge=10)]
    """embeddings at most in the sample of an indicator; with labels as many of each class"""
    blocks: NonNegative
    """parts that the patients are divided into for intervals, each left out in turn; below 3: none"""
    max_images: Annotated[Whole, Field(ge=2)] | None
    """images at most, drawn with score.seed; null: all"""
    launcher: Literal["local", "ray"]
    """local: processes of this machine | ray: a Ray cluster, as in `grid`"""
    workers: Annotated[Positive, Field(le=MOST_PROCESSES)] | None
    """local: processes; null: as many as GPUs, or else cores, allow"""


class Race(Section):
    """Checkpoints to choose among by fine-tuning them in rungs, by the recipe of `finetune`."""

    out: Out
    """folder of the race"""
    target: Name | None
    """prepared target to fine-tune on; null: the first of study.targets"""
    candidates: list[Place]
    """files and folders of checkpoints; empty: those of the study"""
    budget: Positive | None
    """epochs at most of all fine-tunings together; null: by `budget_factor`"""
    budget_factor: Annotated[Real, Field(gt=0, le=1)] | None
    """the same, as a fraction of fine-tuning all candidates in full; null: 1"""
    eta: Annotated[Whole, Field(ge=2, le=100)]
    """factor from rung to rung: as many times fewer candidates, and longer schedules"""
    seeds: Annotated[Positive, Field(le=100)]
    """fine-tunings of each candidate in a rung, by the seeds from finetune.seed on"""
    start_from: Place | None
    """rank, or a `ranking.json` of `medtransfer rank`: prune candidates by it before the first rung; null: do not"""
    validation: OpenShare
    """fraction of the training patients held out to choose on, of a target without validation samples"""
    launcher: Literal["local", "ray"]
    """local: processes of this machine | ray: a Ray cluster, as in `grid`"""
    workers: Annotated[Positive, Field(le=MOST_PROCESSES)] | None
    """local: processes; null: as many as GPUs, or else cores, allow"""

    @model_validator(mode="after")
    def _check_budget(self) -> "Race":
        if self.budget is not None and self.budget_factor is not None:
            raise ValueError(
                f"budget ({self.budget}) and budget_factor ({self.budget_factor:g}) exclude each other: set one to null"
            )
        return self


class Guard(Section):
    """Checkpoints compared with no pretraining by short fine-tunings, by the recipe of `finetune`."""

    out: Out
    """folder of the comparison"""
    target: Name | None
    """prepared target to fine-tune on; null: the first of study.targets"""
    encoder: Name
    """encoder of the checkpoints"""
    origin: Name
    """origin of the checkpoints"""
    epoch: list[Positive]
    """checkpoints to compare with epoch 0; empty: the last, or the one that an early stop kept"""
    train_epochs: Positive | None
    """passes over the training samples; null: a quarter of finetune.train_epochs"""
    seeds: Annotated[Whole, Field(ge=2, le=100)]
    """fine-tunings from each start, by the seeds from finetune.seed on"""
    validation: OpenShare
    """fraction of the training patients held out to compare on, of a target without validation samples"""
    launcher: Literal["local", "ray"]
    """local: processes of this machine | ray: a Ray cluster, as in `grid`"""
    workers: Annotated[Positive, Field(le=MOST_PROCESSES)] | None
    """local: processes; null: as many as GPUs, or else cores, allow"""


class Predict(Section):
    """Masks for new images from fine-tuned models."""

    out: Out
    """folder of the masks and tables"""
    model: list[Place]
    """folders of fine-tuned models of the same classes, whose probabilities are averaged"""
    images: Place | None
    """picture, NIfTI volume or DICOM file to predict, or a folder of them"""
    channels: list[str]
    """what names have after the case where each channel has a file, such as [_0000, _0001], or patterns with {case}; []: none"""
    masks: Place | None
    """reference masks of the images, to compute all metrics: a folder, or the file of a single image; null: none"""
    mask_suffix: str | None
    """what a mask's name has after its image's, such as _gt: files that end so are no images; null: likely masks are refused"""
    labels: dict[int | str, str] | None
    """raw value or DICOM segment -> class, background or ignore, in reference masks; null: 0, 1, 2..., of one class also 255"""
    slide: bool
    """whether windows slide over images at their own size; false: images are resized as those of the target"""
    overlap: BelowOne
    """share of a window's side that neighbouring windows have in common; the mean of both counts"""
    flips: list[Literal["horizontal", "vertical"]]
    """axes along which copies are flipped: the mean over all of them counts"""
    probabilities: bool
    """whether probabilities are written, too: .npy of pictures, NIfTI of volumes"""
    overlays: bool
    """whether pictures of the images with their masks are written"""
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    """device to compute on; auto: a GPU where there is one"""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    """precision of the arithmetic; 16-mixed: on a GPU only; bf16-mixed: also on a CPU"""


class Search(Section):
    """Settings of robustness, and other indicators, to try on stored results."""

    out: Out
    """folder of the search's results"""
    results: Literal["own", "replay"]
    """whose scores and test results to search on: own | replay"""
    per_encoder: bool
    """true: a winner for each encoder, not one for all"""
    indicators: list[Name]
    """indicators to try: robustness at all settings below, others as scored; all: every one that was"""
    distances: Annotated[list[Name], Field(min_length=1)]
    """distances to try"""
    margins: Margins
    """margins to try, and score.margin; of replayed results the stored ones from low to high"""
    levels: Annotated[list[Below], Field(min_length=1)]
    """encoder levels to try; -1 is the deepest"""
    poolings: Annotated[list[Pooling], Field(min_length=1)]
    """rules of pooling to try: frozen, always, never"""


class Explain(Section):
    """What goes with the test results over the checkpoints; images and views are those of `score`, intervals those of `report`."""

    out: Out
    """folder of the page, its tables and pictures, and of the measured features"""
    results: Literal["own", "replay"]
    """whose test results to explain: own | replay, which has no features"""


class Replay(Section):
    """A paper's released result files, and its tables computed from them, or its claims tested on its printed tables."""

    out: Out
    """folder of the replayed tables"""
    paper: Literal["hidy", "hosseinzadeh-taher", "truong"]
    """hidy: from the released files below | hosseinzadeh-taher, truong: from the printed tables"""
    downstream: Place | None
    """downstream_scores.csv of the paper's authors"""
    robustness: Place | None
    """robustness_scores.csv of the paper's authors"""


class Export(Section):
    """A fine-tuned model in another format, checked against the original."""

    out: Out
    """folder of exported models"""
    model: Place | None
    """folder of the fine-tuned model, models/<target>/<encoder>-<origin>/<cell>; null: name it by --model"""
    format: Literal["folder", "torch", "onnx", "mlflow"]
    """folder: with all weights | torch: torch.export | onnx: ONNX | mlflow: to serve, and registered as its target's champion"""
    tolerance: Rate
    """largest accepted difference of a probability from the original's"""


class Evidence(Section):
    """Results of others, imported from small tables."""

    out: Out
    """folder of imported evidence"""


class Ui(Section):
    """The MLflow UI on the tracking store."""

    host: Place
    """address to listen on; 127.0.0.1: this machine only"""
    port: Annotated[Positive, Field(le=65535)]
    """port to listen on; if it is taken, a free one"""


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
    rank: Rank
    race: Race
    guard: Guard
    predict: Predict
    search: Search
    explain: Explain
    export: Export
    replay: Replay
    evidence: Evidence
    ui: Ui
