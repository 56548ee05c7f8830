"""Successive halving over a fixed list of candidates: how long each rung trains, and who survives it.

Every candidate of a rung is trained by a complete schedule of the rung's length, and the best go to the next rung, whose schedule
is eta times as long. Whoever is within one standard error of the last seat stays, too, as far as the budget allows.

Source: Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, AISTATS 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtransfer.metrics.ties import rounded

TIE = 1e-12  # differences up to this are rounding of equal values


@dataclass(frozen=True)
class Rung:
    """A rung of a race.

    Attributes:
        seats: candidates that it has room for, before those within one standard error of the cut.
        epochs: length of its schedule.
    """

    seats: int
    epochs: int

    @property
    def cost(self) -> int:
        """Epochs that it takes if nobody beyond its seats enters."""
        return self.seats * self.epochs


@dataclass(frozen=True)
class Survival:
    """Who survives a rung.

    Attributes:
        stay: indices of the survivors, the best first.
        close: those within one standard error of the cut that had to leave, since there was no more room; the best first.
    """

    stay: tuple[int, ...]
    close: tuple[int, ...] = ()


def plan_rungs(candidates: int, epochs: int, eta: int, rungs: int) -> list[Rung]:
    """Plan a race: rung r of R + 1 has ceil(n / eta^r) seats and a schedule of ceil(E / eta^(R - r)) epochs.

    Args:
        candidates: number n of candidates.
        epochs: E, length of the last schedule.
        eta: factor from rung to rung, above 1.
        rungs: their number R + 1.
    """
    if min(candidates, epochs, rungs) < 1 or eta < 2:
        raise ValueError(f"expected at least 1 candidate, epoch and rung and an eta of 2, but got {candidates, epochs, rungs, eta}")
    return [Rung(-(-candidates // eta**r), -(-epochs // eta ** (rungs - 1 - r))) for r in range(rungs)]


def fit_rungs(candidates: int, epochs: int, eta: int, budget: int) -> list[Rung]:
    """Return the plan with the fewest rungs, but at least 1 + floor(log_eta n), that the budget pays for.

    Args:
        candidates: number n of candidates.
        epochs: length of the last schedule.
        eta: factor from rung to rung, above 1.
        budget: epochs at most of all fine-tunings together.

    Returns:
        The plan; all in full where that costs no more; the cheapest one where the budget pays for none, which the caller has to
        check.
    """
    plans = []
    for rungs in range(1, max(candidates, epochs).bit_length() + 2):  # more rungs repeat schedules of one epoch
        plan = plan_rungs(candidates, epochs, eta, rungs)
        if rungs > 1 and plan[0].epochs == plan[1].epochs:
            break
        plans.append(plan)
    usual = sum(eta**power <= candidates for power in range(1, candidates.bit_length() + 1))
    eligible = plans[min(usual, len(plans) - 1) :]
    chosen = next((plan for plan in eligible if cost_of(plan) <= budget), min(eligible, key=cost_of))
    return min(plans[0], chosen, key=cost_of)


def rungs_run(plan: Sequence[Rung], entrants: int | None = None) -> list[Rung]:
    """Return the rungs of a plan that are run if nobody stays beyond the seats, each with its entrants.

    A rung whose entrants all have a seat in the next one is skipped: nobody would have to leave.

    Args:
        plan: the rungs.
        entrants: candidates that enter the first one; None for its seats.
    """
    alive, run = plan[0].seats if entrants is None else entrants, []
    for rung, following in zip(plan, [*plan[1:], None], strict=True):
        if following is None or alive > following.seats:
            run.append(Rung(alive, rung.epochs))
            alive = alive if following is None else following.seats
    return run


def cost_of(plan: Sequence[Rung], entrants: int | None = None) -> int:
    """Return the epochs of a plan if nobody stays beyond the seats; arguments as for `rungs_run`."""
    return sum(rung.cost for rung in rungs_run(plan, entrants))


def survivors(scores: ArrayLike, seats: int, most: int | None = None) -> Survival:
    """Decide who survives a rung from scores of the same patients: the standard error is that of paired differences.

    Args:
        scores: (C, P), higher is better; the value of a candidate is its mean over patients. One patient has no standard error.
        seats: number of candidates that survive in any case.
        most: largest number that may survive; None for no limit.

    Returns:
        Who stays: the candidates on the seats, and whoever is within one standard error of the last of them.

    Raises:
        ValueError: the scores are not a finite, non-empty table.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(f"expected finite scores (candidates, patients), but got the shape {table.shape} or values like NaN")
    values = table.mean(axis=1)
    last = best_first(values)[min(seats, len(values)) - 1]
    return _survive(values, paired_errors(table, last), seats, most)


def survivors_by_error(values: ArrayLike, errors: ArrayLike, seats: int, most: int | None = None) -> Survival:
    """Decide who survives a rung from values and their standard errors, which are taken to be independent.

    Args:
        values: (C,), higher is better.
        errors: (C,), standard error of each; 0 where it is unknown.
        seats: number of candidates that survive in any case.
        most: largest number that may survive; None for no limit.

    Raises:
        ValueError: there is no candidate, or a value or an error is not finite.
    """
    means, own = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if means.ndim != 1 or not means.size or means.shape != own.shape or not np.isfinite([means, own]).all() or own.min() < 0:
        raise ValueError(f"expected finite values and errors of candidates, but got shapes {means.shape} and {own.shape}, or NaN")
    last = best_first(means)[min(seats, len(means)) - 1]
    return _survive(means, np.hypot(own, own[last]), seats, most)


def best_first(values: NDArray[np.float64]) -> list[int]:
    """Return the indices of candidates from the best on; the earlier one wins a tie."""
    return sorted(range(len(values)), key=lambda index: -rounded(float(values[index])))


def paired_errors(scores: NDArray[np.float64], reference: int) -> NDArray[np.float64]:
    """Return the standard error (C,) over patients of each candidate's difference from the reference; 0 with one patient."""
    differences = scores - scores[reference]  # (C, P)
    patients = differences.shape[1]
    if patients < 2:
        return np.zeros(len(scores))
    errors: NDArray[np.float64] = differences.std(axis=1, ddof=1) / np.sqrt(patients)
    return errors


def _survive(values: NDArray[np.float64], errors: NDArray[np.float64], seats: int, most: int | None) -> Survival:
    if seats < 1 or (most is not None and most < seats):
        raise ValueError(f"expected at least one seat, and room for all seats, but got {seats} and room for {most}")
    order = best_first(values)
    cut = rounded(float(values[order[min(seats, len(order)) - 1]]))
    near = [i for place, i in enumerate(order) if place < seats or rounded(float(values[i] + errors[i])) >= cut]
    return Survival(tuple(near[:most]), tuple(near[most:]) if most is not None else ())
