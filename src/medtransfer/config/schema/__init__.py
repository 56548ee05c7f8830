"""Pydantic schema of params.yaml, one section of it per class."""

from medtransfer.config.schema.choosing import Guard, Race, Report
from medtransfer.config.schema.data import NewTarget, Prepare, Samples, Target
from medtransfer.config.schema.finetuning import Finetune, Grid
from medtransfer.config.schema.measuring import Cka, Explain, Margins, Rank, Score, Search
from medtransfer.config.schema.origins import (
    CatalogueOrigin,
    ContinuedOrigin,
    EncoderSpec,
    FileOrigin,
    FusedOrigin,
    ImportedOrigin,
    InputContract,
    LabelledOrigin,
    Origin,
    PackageOrigin,
    RandAugment,
    SeriesOrigin,
    SoupOrigin,
    SupervisedOrigin,
)
from medtransfer.config.schema.params import Params, Study
from medtransfer.config.schema.pretexts import (
    ClassificationOrigin,
    ConRecOrigin,
    MaskedOrigin,
    PretextOrigin,
    ReconstructionOrigin,
    SegmentationOrigin,
    SimCLROrigin,
)
from medtransfer.config.schema.pretraining import Pretrain
from medtransfer.config.schema.trained import TrainedOrigin
from medtransfer.config.schema.using import Evidence, Export, Predict, Replay, Ui
from medtransfer.config.schema.values import MOST, MOST_MARGINS, MOST_PIXELS, MOST_PROCESSES, Name, Pooling, Section

__all__ = [
    "ClassificationOrigin",
    "ConRecOrigin",
    "LabelledOrigin",
    "MaskedOrigin",
    "PretextOrigin",
    "ReconstructionOrigin",
    "SegmentationOrigin",
    "SimCLROrigin",
    "CatalogueOrigin",
    "ContinuedOrigin",
    "EncoderSpec",
    "Evidence",
    "Cka",
    "Explain",
    "Export",
    "FileOrigin",
    "Finetune",
    "FusedOrigin",
    "Grid",
    "Guard",
    "ImportedOrigin",
    "InputContract",
    "MOST",
    "MOST_MARGINS",
    "MOST_PIXELS",
    "MOST_PROCESSES",
    "Margins",
    "Name",
    "Origin",
    "Pooling",
    "NewTarget",
    "PackageOrigin",
    "Params",
    "Predict",
    "Prepare",
    "Pretrain",
    "Race",
    "RandAugment",
    "Rank",
    "Replay",
    "Report",
    "Samples",
    "Score",
    "Search",
    "Section",
    "SeriesOrigin",
    "SoupOrigin",
    "Study",
    "SupervisedOrigin",
    "Target",
    "TrainedOrigin",
    "Ui",
]
