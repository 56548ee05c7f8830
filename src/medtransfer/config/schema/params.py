"""The whole of params.yaml."""

from typing import Literal

from medtransfer.config.schema.choosing import Guard, Race, Report
from medtransfer.config.schema.data import Prepare, Samples
from medtransfer.config.schema.finetuning import Finetune, Grid
from medtransfer.config.schema.measuring import Cka, Explain, Rank, Score, Search
from medtransfer.config.schema.pretraining import Pretrain
from medtransfer.config.schema.using import Evidence, Export, Predict, Replay, Ui
from medtransfer.config.schema.values import Folds, Name, NonNegative, Section, Size


class Study(Section):
    """The cells that `demo`, `dvc repro` and `--study` run."""

    encoders: list[Name]
    """encoders, of pretrain.encoders"""
    origins: list[Name]
    """origins of their weights, of pretrain.origins"""
    targets: list[Name]
    """targets, of prepare.targets"""
    epochs: Literal["all", "last"] | list[NonNegative]
    """checkpoints of each origin to fine-tune; all | last: epoch 0 and the last | a list of epochs"""
    random: Literal["each", "once", "none"]
    """whose epoch 0, random weights, is among them; each: every origin's | once: that of each encoder's first origin | none"""
    modes: list[Name]
    """modes of transfer"""
    seeds: list[NonNegative]
    """seeds of the fine-tunings"""
    sizes: list[Size]
    """numbers of training images, or shares of them, as finetune.size; null: all"""
    folds: Folds | None
    """folds of the training groups, each of which is a cell; null: none"""
    pretraining_seeds: list[NonNegative]
    """seeds of the pretrainings, each of which is an origin `<origin>-s<seed>`; empty: one each, by pretrain.seed"""


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
    cka: Cka
    race: Race
    guard: Guard
    predict: Predict
    search: Search
    explain: Explain
    export: Export
    replay: Replay
    evidence: Evidence
    ui: Ui
