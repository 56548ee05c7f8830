"""What a race found: the winner, those that cannot be distinguished from it, and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from medtransfer.analysis.halving import Rung, cost_of
from medtransfer.analysis.ranking import Standing, stand
from medtransfer.metrics.ties import rounded
from medtransfer.race.contest import Heat
from medtransfer.race.entrants import Entrant, Pruned
from medtransfer.tasks.contract import Metric


@dataclass(frozen=True)
class Race:
    """A race that has ended.

    Attributes:
        target: name of the target.
        mode: mode of transfer.
        metric: metric of the scores.
        entrants: all that took part.
        plan: the rungs that the budget pays for.
        budget: epochs at most, all seeds together.
        seeds: seeds of each fine-tuning.
        heats: the rungs that were run.
        tested: test value of the winner, the mean over its seeds.
        models: folders of the winner's models, one per seed.
        patients: number of validation patients.
        held_out: fraction of the training patients that they were drawn from; 0 if they are the target's own.
        pruned: what a ranking left out before; None without one.
        confidence: of the set that cannot be distinguished from the winner.
        draws: draws of P(best).
        seed: seed of these draws.
        least: value up to which a model learned nothing.
    """

    target: str
    mode: str
    metric: Metric
    entrants: Sequence[Entrant]
    plan: Sequence[Rung]
    budget: int
    seeds: Sequence[int]
    heats: Sequence[Heat]
    tested: float
    models: Sequence[Path]
    patients: int
    held_out: float
    pruned: Pruned | None
    confidence: float
    draws: int
    seed: int
    least: float

    @property
    def learned(self) -> bool:
        """Whether the winner learned anything by the validation patients."""
        return rounded(self.value(self.last, self.winner)) > rounded(self.least)

    @property
    def last(self) -> Heat:
        """The last rung."""
        return self.heats[-1]

    @property
    def winner(self) -> int:
        """Index of the winner."""
        return self.last.stay[0]

    @cached_property
    def standing(self) -> Standing:
        """How the entrants of the last rung stand, on other patients and, with several seeds, by other seeds."""
        scores = self.last.scores
        rng = np.random.default_rng(self.seed)
        return stand(scores.values, scores.without, self.confidence, self.draws, rng, scores.by_seed)

    @cached_property
    def rivals(self) -> list[int]:
        """Indices of the others that cannot be distinguished from the winner: in the last rung, or for want of room before it."""
        finals = [index for index, kept in zip(self.last.entrants, self.standing.kept, strict=True) if kept]
        close = [index for heat in self.heats for index in heat.close]
        order = {index: place for place, index in enumerate(self.last.stay)}
        finals.sort(key=lambda index: order[index])
        return [index for index in dict.fromkeys([*finals, *close]) if index != self.winner]

    @property
    def spent(self) -> int:
        """Epochs of all fine-tunings, of all seeds."""
        return len(self.seeds) * sum(heat.cost for heat in self.heats)

    @property
    def full(self) -> int:
        """Epochs of fine-tuning everything in full, those that a ranking pruned, too."""
        pruned = len(self.pruned.names) if self.pruned else 0
        return len(self.seeds) * (len(self.entrants) + pruned) * self.plan[-1].epochs

    @property
    def planned(self) -> int:
        """Epochs of the plan, of all seeds, without the rungs in which nobody would have to leave."""
        return len(self.seeds) * cost_of(self.plan)

    def value(self, heat: Heat, index: int) -> float:
        """Return the score of a candidate in a rung."""
        return float(heat.scores.values[heat.entrants.index(index)])

    def error(self, heat: Heat, index: int) -> float | None:
        """Return the standard error of a candidate's score over patients; None with one patient."""
        table = heat.scores.by_patient[heat.entrants.index(index)]
        return float(table.std(ddof=1) / np.sqrt(len(table))) if len(table) > 1 else None
