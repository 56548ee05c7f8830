"""Robustness to colour jitter (Eq. 3)."""

from typing import TYPE_CHECKING

from medtransfer.registry import Registry

if TYPE_CHECKING:
    from medtransfer.indicators.robustness.distances import Distance

DISTANCES: "Registry[Distance]" = Registry({
    "cosine": "medtransfer.indicators.robustness.distances:cosine",
    "pearson": "medtransfer.indicators.robustness.distances:pearson",
    "l2": "medtransfer.indicators.robustness.distances:l2",
    "euclidean": "medtransfer.indicators.robustness.distances:euclidean",
})  # fmt: skip
