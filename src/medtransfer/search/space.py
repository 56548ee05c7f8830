"""The params and the stored scores go in; the settings that a study may try come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from medtransfer.config import Search
from medtransfer.errors import InputError
from medtransfer.search.evaluate import Setting


@dataclass(frozen=True)
class Space:
    """What a study chooses from.

    Attributes:
        distances: names.
        margin: lowest and highest, every value between them is a choice.
        margins: the only choices of the margin; empty where it is continuous.
        levels: counted from the end.
        poolings: rules.
    """

    distances: tuple[str, ...]
    margin: tuple[float, float]
    margins: tuple[float, ...]
    levels: tuple[int, ...]
    poolings: tuple[str, ...]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Give the space as Optuna knows it, by parameter."""
        margin = CategoricalDistribution(self.margins) if self.margins else FloatDistribution(*self.margin)
        return {
            "distance": CategoricalDistribution(self.distances), "margin": margin,
            "level": CategoricalDistribution(self.levels), "pooling": CategoricalDistribution(self.poolings),
        }  # fmt: skip

    def settings(self) -> list[Setting]:
        """List all settings of a space without a continuous margin; of any other none."""
        return [Setting(*one) for one in product(self.distances, self.margins, self.levels, self.poolings)]

    def describe(self) -> dict[str, Any]:
        """Give what identifies the space; the order of its choices is part of it, since the sampler draws by place."""
        return {name: list(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Measured:
    """What stored scores allow.

    Attributes:
        pairs: (distance, level) that every configuration was scored at, pooled and flattened.
        margins: the only ones; empty where every margin can be computed.
    """

    pairs: frozenset[tuple[str, int]]
    margins: tuple[float, ...]

    def covers(self, setting: Setting) -> bool:
        """Tell whether a setting can be judged."""
        return (setting.distance, setting.level) in self.pairs and (not self.margins or setting.margin in self.margins)

    @property
    def distances(self) -> list[str]:
        """Name the distances."""
        return sorted({distance for distance, _ in self.pairs})

    @property
    def levels(self) -> list[int]:
        """Name the levels, the last first."""
        return sorted({level for _, level in self.pairs}, reverse=True)


def whole_space(section: Search, measured: Measured) -> Space:
    """Give the space that the params name; a distance or level that was not measured is an InputError."""
    _require_measured(section.distances, section.levels, measured)
    return Space(_unique(section.distances), section.margin, (), _unique(section.levels), _unique(section.poolings))


def listed_space(section: Search, measured: Measured) -> tuple[Space, list[str]]:
    """Give the part of the params' space that lies on the grid of the scores, and in words what was left out.

    Raises:
        InputError: nothing is left of distances, margins or levels, or the grid has a hole.
    """
    low, high = section.margin
    margins = [margin for margin in measured.margins if low <= margin <= high]
    distances = _on_grid("distances", section.distances, measured.distances)
    levels = _on_grid("levels", section.levels, measured.levels)
    _require_measured(distances, levels, measured)
    left = [f"distance {one}" for one in _unique(section.distances) if one not in distances]
    left += [f"level {one}" for one in _unique(section.levels) if one not in levels]
    notes = [f"The scores hold no {', no '.join(left)}: left out of the space."] if left else []
    kept = tuple(_on_grid("margin", margins, measured.margins))
    return Space(tuple(distances), section.margin, kept, tuple(levels), _unique(section.poolings)), notes


def _require_measured(distances: Sequence[str], levels: Sequence[int], measured: Measured) -> None:
    lacking = [pair for pair in product(distances, levels) if pair not in measured.pairs]
    if lacking:
        raise InputError(
            f"expected search.distances and search.levels at which every configuration was scored, but {lacking[0][0]} at level "
            f"{lacking[0][1]} was not; there are the distances {', '.join(measured.distances) or 'none'} and the levels "
            f"{', '.join(map(str, measured.levels)) or 'none'}; choose from these, or score again with `medtransfer score`"
        )


def _on_grid(name: str, wanted: Sequence[Any], there: Sequence[Any]) -> list[Any]:
    kept = [one for one in _unique(wanted) if one in there]
    if not kept:
        grid = ", ".join(map(str, there)) or "none"
        raise InputError(f"expected search.{name} to meet the grid of the stored scores ({grid}), but none does; choose from it")
    return kept


def _unique(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
