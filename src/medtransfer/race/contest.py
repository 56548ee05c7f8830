"""The course of a race, apart from any training: who enters each rung, and when nothing is left to decide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medtransfer.analysis.halving import Rung, best_first, cost_of, paired_errors, survivors
from medtransfer.tryouts.scores import Scores


@dataclass(frozen=True)
class Heat:
    """A rung as it was run.

    Attributes:
        epochs: length of its schedule.
        entrants: indices of the candidates that were trained.
        scores: their validation scores, in the same order.
        errors: standard error of each one's difference to the last seat; 0 where there are no patients to compare over.
        seats: seats of the next rung; 1 for the last rung.
        stay: indices of those that stayed, the best first; in the last rung all, in their order.
        close: those within one standard error of the cut for whom the budget had no room.
    """

    epochs: int
    entrants: tuple[int, ...]
    scores: Scores
    errors: tuple[float, ...]
    seats: int
    stay: tuple[int, ...]
    close: tuple[int, ...] = ()

    @property
    def cost(self) -> int:
        """Epochs of one seed."""
        return len(self.entrants) * self.epochs


def compete(count: int, rungs: Sequence[Rung], budget: int, measure: Callable[[Sequence[int], int], Scores]) -> list[Heat]:
    """Run a race; rungs in which nobody would have to leave are skipped, since the last one decides.

    Args:
        count: number of candidates.
        rungs: the plan.
        budget: epochs at most of all fine-tunings together, of one seed; it pays for the plan.
        measure: fine-tunes candidates, given by their indices, for a number of epochs, and returns their scores.

    Returns:
        The rungs that were run; the first of the last one's `stay` has won.
    """
    alive, spent, heats = list(range(count)), 0, list[Heat]()
    for number, rung in enumerate(rungs):
        later = rungs[number + 1 :]
        if later and len(alive) <= later[0].seats:
            continue
        scores = measure(alive, rung.epochs)
        spent += len(alive) * rung.epochs
        heats.append(_decide(alive, rung.epochs, scores, later, budget - spent))
        alive = sorted(heats[-1].stay)
    return heats


def _decide(alive: Sequence[int], epochs: int, scores: Scores, later: Sequence[Rung], left: int) -> Heat:
    """Decide who stays; the budget that is left must pay for the rungs that they run, and for the seats of those after."""
    table, seats = scores.by_patient, later[0].seats if later else 1
    last = best_first(table.mean(axis=1))[min(seats, len(alive)) - 1]
    errors = tuple(float(error) for error in paired_errors(table, last))
    if not later:
        survival = survivors(table, seats=len(alive))
    else:
        most = max((count for count in range(seats, len(alive) + 1) if cost_of(later, count) <= left), default=seats)
        survival = survivors(table, seats, most)
    stay, close = (tuple(alive[index] for index in indices) for indices in (survival.stay, survival.close))
    return Heat(epochs, tuple(alive), scores, errors, seats, stay, close)
