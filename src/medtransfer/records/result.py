"""Records of fine-tunings."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from medtransfer.hashing import digest
from medtransfer.records.base import RESULT, Record


def _check_metrics(value: dict[str, float]) -> dict[str, float]:
    if not 0 <= value.get("dice", -1) <= 1:
        raise ValueError("`dice` must be there, and lie in [0, 1]")
    return value


Metrics = Annotated[dict[str, float], AfterValidator(_check_metrics)]


@dataclass(frozen=True)
class Cell:
    """What makes one fine-tuning result; its digest is the tag `cell`.

    `pretraining`, `weights`, `data` and `protocol` are digests, so a changed image, weight or parameter is another cell.
    """

    source: str
    origin: str
    encoder: str
    epoch: int
    target: str
    mode: str
    seed: int
    protocol: str
    pretraining: str
    weights: str
    data: str

    @property
    def key(self) -> str:
        """Give the digest that the cell is found by."""
        return digest(asdict(self), 16)

    @property
    def name(self) -> str:
        """Give the readable name of its folder and run."""
        return f"{self.target}-{self.encoder}-{self.origin}-e{self.epoch:03d}-{self.mode}-s{self.seed}"


@dataclass(frozen=True)
class Result(Record):
    """What `metrics.json` of a fine-tuned model says: the cell, its final metrics and its curves by epoch."""

    cell: dict[str, Any]
    key: str
    metrics: Metrics
    curves: dict[str, list[float]]
    encoder_hash: list[str]
    settings: dict[str, Any]
    seconds: float
    git_revision: str

    @classmethod
    def form(cls) -> str:
        """Give the name and version of the file format."""
        return RESULT
