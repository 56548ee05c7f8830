"""What is prepared: generated datasets, and raw ones with their readers."""

from typing import Any, Literal

from medtransfer.config.schema.values import BelowOne, Defined, Name, NonNegative, Out, Place, Positive, Section, Sides


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
    size: Sides
    """(height, width) of the stored images; one number: both"""
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
