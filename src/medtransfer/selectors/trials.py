"""Ways of choosing that fine-tune candidates before the choice: how many candidates with how many seeds."""

from collections.abc import Callable
from dataclasses import dataclass

ETA = 3  # factor by which a race thins out the candidates from rung to rung
LAST = 5  # checkpoints that take part where only the last ones do
ENOUGH = 99  # rungs, more than any trial has


@dataclass(frozen=True)
class Trial:
    """Full-length fine-tunings by which a candidate is chosen, in rungs of one more seed for everyone who is left.

    After each rung the candidates with the highest mean outcome over the seeds so far go on; after the last the best of them is
    chosen. The seeds of the rungs are not used to judge the choice, so at least one more is needed.

    Attributes:
        plan: number of candidates in each rung, from the number of candidates and the most rungs that the seeds allow; empty
            where that does not make a choice of its own.
    """

    plan: Callable[[int, int], tuple[int, ...]]

    def rungs(self, candidates: int, seeds: int) -> tuple[int, ...]:
        """Return the number of candidates in each rung; empty where the trial cannot be judged.

        Args:
            candidates: number of candidates; where fewer take part in the first rung, they are the last ones.
            seeds: number of seeds that all of them share.
        """
        return self.plan(candidates, seeds - 1) if candidates > 1 and seeds > 1 else ()

    def lacks_seeds(self, candidates: int, seeds: int) -> bool:
        """Return whether the trial could be judged with more seeds."""
        return not self.rungs(candidates, seeds) and bool(self.rungs(candidates, ENOUGH))


def once(candidates: int, most: int) -> tuple[int, ...]:
    """Fine-tune every candidate with one seed."""
    return (candidates,)


def last_once(candidates: int, most: int) -> tuple[int, ...]:
    """Fine-tune the last five candidates with one seed."""
    return (LAST,) if candidates > LAST else ()


def twice(candidates: int, most: int) -> tuple[int, ...]:
    """Fine-tune every candidate with two seeds."""
    return (candidates, candidates) if most > 1 else ()


def race(candidates: int, most: int) -> tuple[int, ...]:
    """Fine-tune all with one seed, the best third with a second one, and so on; with few seeds in fewer rungs, at least two."""
    sizes = [candidates]
    while (left := -(-sizes[-1] // ETA)) > 1:
        sizes.append(left)
    return tuple(sizes[:most]) if min(len(sizes), most) > 1 else ()
