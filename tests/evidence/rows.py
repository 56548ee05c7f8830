"""Evidence by hand."""

from typing import Any

from medtransfer.hashing import digest
from medtransfer.records.evidence import EvidenceRow

FACTS: dict[str, Any] = {
    "protocol": digest("recipe"), "encoder": "unet", "origin": "simple", "source": "imagenet", "epoch": 1, "raw": None,
    "target": None, "task": "segmentation", "reader": "acdc", "classes": 3, "train_images": 120, "train_groups": 12,
    "height": 64, "width": 64, "mode": "full", "metric": "dice", "mean": 0.5, "std": 0.01, "seeds": 2, "train_epochs": 15,
    "images_seen": 1800, "seconds": 36.8, "medtransfer": "0.1", "torch": "2.9.0+cpu", "git_revision": "none",
}  # fmt: skip


def weights(name: str) -> str:
    return digest(name, 64)


def row(candidate: str, data: str, mean: float, **changed: Any) -> EvidenceRow:
    """Return the outcome of weights on data, each by a name that is hashed."""
    return EvidenceRow(**{"weights": weights(candidate), "data": digest(data), **FACTS, "mean": mean, **changed})
