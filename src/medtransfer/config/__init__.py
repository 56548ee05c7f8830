"""Pydantic schema of params.yaml, its loader, and strict YAML."""

from medtransfer.config.load import DEFAULTS, check_section, default_params, load_params, merge
from medtransfer.config.pretraining_seeds import seeded_names
from medtransfer.config.schema import (
    MOST_PIXELS,
    Explain,
    FileOrigin,
    Finetune,
    Grid,
    ImportedOrigin,
    InputContract,
    Margins,
    Name,
    Params,
    Prepare,
    Pretrain,
    Rank,
    Replay,
    Report,
    Samples,
    Score,
    Search,
    Section,
    SeriesOrigin,
    SupervisedOrigin,
    Target,
    Ui,
)
from medtransfer.config.strict_yaml import parse_yaml

__all__ = [
    "DEFAULTS", "MOST_PIXELS", "Explain", "FileOrigin", "Finetune", "Grid", "ImportedOrigin", "InputContract", "Margins", "Name",
    "Params", "Prepare", "Pretrain", "Rank", "Replay", "Report", "Samples", "Score", "Search", "Section", "SeriesOrigin",
    "SupervisedOrigin", "Target", "Ui", "check_section", "default_params", "load_params", "merge", "parse_yaml", "seeded_names",
]  # fmt: skip
