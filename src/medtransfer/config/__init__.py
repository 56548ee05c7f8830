"""Pydantic schema of params.yaml, its loader, and strict YAML."""

from medtransfer.config.load import DEFINED, USED, load_params
from medtransfer.config.schema import (
    MOST_PIXELS,
    Finetune,
    Grid,
    Margins,
    Name,
    Params,
    Prepare,
    Pretrain,
    Replay,
    Report,
    Samples,
    Score,
    Search,
    Section,
)
from medtransfer.config.strict_yaml import parse_yaml

__all__ = [
    "DEFINED", "MOST_PIXELS", "USED", "Finetune", "Grid", "Margins", "Name", "Params", "Prepare", "Pretrain", "Replay", "Report",
    "Samples", "Score", "Search", "Section", "load_params", "parse_yaml",
]  # fmt: skip
