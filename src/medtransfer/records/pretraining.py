"""`pretraining.json`: the run of a finished pretraining, beside its checkpoints."""

from dataclasses import dataclass

from medtransfer.config import Name
from medtransfer.records.base import PRETRAINING, Count, Record

PRETRAINING_FILE = "pretraining.json"


@dataclass(frozen=True)
class Pretraining(Record):
    """What the tracking store knows of a finished pretraining, so that a store that lacks it can be filled from disk.

    Attributes:
        name: of the run.
        cell: digest of what makes the result.
        pretraining: digest that its checkpoints carry.
        epochs: whose checkpoints belong to it.
        params: of the run, as text.
        tags: of the run.
        curves: values by metric and epoch.
        inputs: name, digest, folder and context of each dataset.
    """

    name: Name
    cell: str
    pretraining: str
    epochs: list[Count]
    params: dict[str, str]
    tags: dict[str, str]
    curves: dict[str, dict[str, float]]
    inputs: list[list[str]]

    @classmethod
    def form(cls) -> str:
        """Return the name and version of the file format."""
        return PRETRAINING
