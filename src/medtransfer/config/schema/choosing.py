"""How results are judged, and how a choice is made by fine-tuning."""

from typing import Annotated

from pydantic import Field, model_validator

from medtransfer.config.schema.values import (
    MOST_PROCESSES,
    AtLeastZero,
    Name,
    NonNegative,
    OpenShare,
    Out,
    Place,
    Positive,
    Rate,
    Real,
    Section,
    Whole,
)


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
    reference: Name | None
    """origin that all initialisations of a target are tested against; null: random weights of the same encoder"""


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
    launcher: Name
    """local: processes of this machine | ray, slurm: as in `grid`"""
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
    launcher: Name
    """local: processes of this machine | ray, slurm: as in `grid`"""
    workers: Annotated[Positive, Field(le=MOST_PROCESSES)] | None
    """local: processes; null: as many as GPUs, or else cores, allow"""
