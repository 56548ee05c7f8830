"""Setting of robustness: distance, margin, level and pooling."""

from dataclasses import dataclass
from math import inf

from medtransfer.indicators.robustness.triplet import POOLED


@dataclass(frozen=True, order=True)
class RobustnessSetting:
    """How robustness is computed from the distances of pairs.

    Attributes:
        distance: a name in DISTANCES.
        margin: the paper's epsilon, >= 0.
        level: counted from the end, -1 is the encoder's last resolution.
        pooling: `frozen` (features are pooled where the encoder is frozen downstream), `always` or `never`.
    """

    distance: str
    margin: float
    level: int
    pooling: str

    @property
    def lowest(self) -> float:
        """Lowest possible robustness: distances of `cosine` and `pearson` are at most 2, others have no bound."""
        return 1 - (2 + self.margin) if self.distance in ("cosine", "pearson") else -inf

    def pooled(self, mode: str) -> bool:
        """Return whether features are pooled for a mode of transfer."""
        return POOLED[self.pooling][mode]

    def key(self, mode: str) -> tuple[str, int, bool]:
        """Return the key (distance, level, pooled) of the distances that are used for a mode of transfer."""
        return self.distance, self.level, self.pooled(mode)

    def __str__(self) -> str:
        return f"{self.distance}, margin {self.margin:.4g}, level {self.level}, pooling {self.pooling}"
