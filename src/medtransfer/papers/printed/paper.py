"""A paper of which only printed tables exist."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medtransfer.papers.printed.claims import Claim
from medtransfer.papers.printed.tables import Cell, read_printed

ANY = "any"


@dataclass(frozen=True)
class Setting:
    """What a printed result was measured on, in our words.

    Attributes:
        starts: names that the initialisation may have: an origin, or the chain of a continued one.
        target: name of the target in the preset `labelled`.
        mode: mode of transfer.
        metrics: our metrics, whose mean is the printed one.
        recipe: preset with the paper's recipe.
        train: training images at least.
        test: test images at least.
        size: training images of a subset; `None`: all.
        repeats: what the printed spread is over.
        changes: what the paper does otherwise than its recipe, by key of `finetune`; ANY: left open.
    """

    starts: tuple[str, ...]
    target: str
    mode: str
    metrics: tuple[str, ...]
    recipe: str
    train: int
    test: int
    size: str = "None"
    repeats: str = "runs"
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def random(self) -> bool:
        """Whether the weights are random ones."""
        return "random" in self.starts


@dataclass(frozen=True)
class Paper:
    """A paper whose claims are tested from its printed tables.

    Attributes:
        name: key in PAPERS, and the beginning of its data files.
        citation: authors, year and source.
        claims: what it says in words.
        caveats: what limits a test on its numbers.
        setting: what a printed result was measured on; None of one that is no result, or cannot be computed again.
        unit: our metric times this is in the unit of the tables.
        assumed_runs: runs that a spread is over where the paper does not say; None: such spreads are not tested.
    """

    name: str
    citation: str
    claims: Sequence[Claim]
    caveats: Sequence[str]
    setting: Callable[[Cell], Setting | None]
    unit: float
    assumed_runs: int | None = None

    def cells(self) -> list[Cell]:
        """Read the printed tables; a spread over an unsaid number of runs is taken to be over `assumed_runs`."""
        return [
            replace(cell, n=self.assumed_runs) if cell.n is None and cell.std is not None else cell
            for cell in read_printed(self.name)
        ]  # fmt: skip
