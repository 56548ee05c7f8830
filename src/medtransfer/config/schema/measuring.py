"""What is measured before any fine-tuning, and what is searched and explained afterwards."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from medtransfer.config.schema.values import (
    MOST_MARGINS,
    MOST_PROCESSES,
    AtLeastZero,
    Below,
    Name,
    NonNegative,
    Out,
    Place,
    Pooling,
    Positive,
    Rate,
    Section,
    Sides,
    Whole,
)


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
    size: Sides
    """(height, width) that images and masks are resized to; one number: both"""
    candidates: list[Place]
    """timm names, files and folders of checkpoints, FILE@ARCHITECTURE, random; empty: those of the study, and installed weights"""
    pickle: bool
    """whether weights files may be pickles (.pt, .pth), of which only tensors and plain values are read"""
    indicators: list[Name]
    """indicators to rank by, measured in one pass; all: every one"""
    by: Name
    """indicator that the verdict rests on where there are masks or labels of images"""
    stride: Positive
    """pixels per cell of the ranked level, so that all candidates get the masks on one grid; the nearest that an encoder has"""
    level: Below | None
    """encoder level that is ranked whatever its stride, -1 the deepest; null: by `stride`, for labels of images the deepest"""
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
    launcher: Name
    """local: processes of this machine | ray, slurm: as in `grid`"""
    workers: Annotated[Positive, Field(le=MOST_PROCESSES)] | None
    """local: processes; null: as many as GPUs, or else cores, allow"""


class Cka(Section):
    """Encoders to compare level by level on the images of a target, by linear CKA; images are those of `score`."""

    out: Out
    """folder of the comparison"""
    target: Name | None
    """prepared target whose images are compared on; null: the first of study.targets"""
    candidates: list[Place]
    """encoders, at least two, named as in rank.candidates; empty: those of the study, and installed weights"""
    pickle: bool
    """whether weights files may be pickles (.pt, .pth), of which only tensors and plain values are read"""
    estimate: Literal["unbiased", "linear"]
    """unbiased: the unbiased HSIC, averaged over minibatches | linear: of all images at once, which is high for wide features"""
    features: Literal["flat", "pooled"]
    """features of an image: flat: the whole map | pooled: its mean over the positions"""
    batch_size: Annotated[Whole, Field(ge=4)]
    """images at most in a minibatch and a forward pass"""
    level: Below
    """encoder level at which more than two encoders are compared in one picture, -1 the deepest"""
    max_images: Annotated[Whole, Field(ge=4)] | None
    """images at most, drawn with score.seed; null: all"""


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
